"""Probes: each reads one kind of figure off every row of a suite's part, without or with a prefix."""
