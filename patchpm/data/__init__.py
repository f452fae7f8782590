"""Texts to train on and to measure on: where they come from, and what keeps the two apart."""
