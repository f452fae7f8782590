"""What one project wants and what it has pinned: patchpm.toml, patchpm.lock, and the way from one to the other."""
