"""An S3 server on loopback that keeps the conditions of writes, in memory, and the environment that leads to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

_numbers = count(1)


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Run it; gives the environment of whoever shall use it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.stop()


def new_bucket(environment: dict[str, str]) -> str:
    """Make an empty bucket on a server that is running; returns its name."""
    import urllib3

    name = f"registry-{next(_numbers)}"
    made = urllib3.request("PUT", f"{environment['AWS_ENDPOINT_URL']}/{name}")
    assert made.status == 200, made.data
    return name
