"""A way to an engine on which some chats end without an answer, as on a connection that was idle for too long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3

from tests.loopback import in_a_thread


@contextmanager
def hanging_up(engine: str, chats: set[int]) -> Iterator[str]:
    """An address before an engine.

    Args:
        engine: Its own address.
        chats: Which chats get no answer, counted from 1; probes of a gateway are not counted.
    """
    pool = urllib3.PoolManager(retries=False)
    seen = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._forward(None)

        def do_POST(self) -> None:
            nonlocal seen
            body = self.rfile.read(int(self.headers["content-length"]))
            is_chat = b'"max_tokens": 1' not in body
            seen += is_chat
            if is_chat and seen in chats:
                self.close_connection = True
            else:
                self._forward(body)

        def _forward(self, body: bytes | None) -> None:
            answer = pool.request(self.command, engine + self.path, body=body, headers=dict(self.headers))
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers.get("content-type", "text/plain"))
            self.send_header("content-length", str(len(answer.data)))
            self.end_headers()
            self.wfile.write(answer.data)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with in_a_thread(server):
        yield f"http://127.0.0.1:{server.server_port}"
