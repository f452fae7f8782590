"""The local content-addressed store that all projects share."""
