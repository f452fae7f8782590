"""What the pages of `docs/reference/` are made from: the commands, the error classes, the settings and the schemas."""
