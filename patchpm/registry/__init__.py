"""Where releases live: hosts of static files, the verifying client, and the writer."""
