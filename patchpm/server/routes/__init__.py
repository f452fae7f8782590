"""What the server answers, a module a subject."""
