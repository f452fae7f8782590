"""Measuring what a prefix does on held-out prompts."""
