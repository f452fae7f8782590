"""patchpm: package manager and registry for safety patches of language models."""

__version__ = "0.1.0"
