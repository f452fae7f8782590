"""Bytes in, verdict out: keys, signed statements, policy, the state of a registry. No I/O; the clock is passed in."""
