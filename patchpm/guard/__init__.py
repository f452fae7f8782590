"""Proof, from outside, that a serving model carries the patch set that it should."""
