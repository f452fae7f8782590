"""The scorers that come with patchpm, one module each, imported when one is asked for."""
