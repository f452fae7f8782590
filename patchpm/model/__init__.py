"""Real models: fingerprints of their weights, and prefixes applied to them."""
