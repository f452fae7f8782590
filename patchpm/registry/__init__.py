"""Where releases live: static files on a host, read by clients that trust nothing, written by compare-and-swap."""
