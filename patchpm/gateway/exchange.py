"""One request and its answer: what both endpoints and the log need to know of it."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Iterable
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from patchpm.gateway.refusal import RefusedError

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
Headers = Iterable[tuple[bytes, bytes]]


class StuckError(Exception):
    """The client does not read its answer, which ends here."""


class Exchange:
    """A request being answered.

    Args:
        scope: Of the ASGI server.
        receive: The same.
        send: The same.
        patience: Seconds that the client takes to read what waits for it, before its answer ends.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, patience: float) -> None:
        self._receive = receive
        self._send = send
        self._patience = patience
        self._began = time.perf_counter()
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.query = QueryParams(scope["query_string"])
        self.id = secrets.token_hex(16)
        """Names the request in the log and at the engine. The client has no say in it: engines abort by this name."""
        given = self.headers.get("x-request-id", "")
        self.shown_id = given if _REQUEST_ID.fullmatch(given) else self.id
        """What the client sees; its own, if it sent one."""
        self.status = 0
        """Status of the answer, once it has begun."""
        self.streams = False
        """Whether the answer is a stream of events, which may end in an error."""
        self.first_byte: float | None = None
        """Seconds to the first byte of the answer's body."""
        self.notes: dict[str, Any] = {}
        """More fields for the log."""

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.perf_counter() - self._began

    async def body(self, limit: int, silence: float, upload: float) -> bytes:
        """Read the request's body.

        Raises:
            RefusedError: 413, 408, or 400.
        """
        close = {"Connection": "close"}
        large = RefusedError(413, "body_too_large", f"The request is larger than {limit:,} bytes", headers=close)
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18 or int(length) > limit:
            raise large
        pieces: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(upload):
                while more:
                    async with asyncio.timeout(silence):
                        message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError(400, "incomplete_body", "The request is not whole", headers=close)
                    piece = message.get("body", b"")
                    size += len(piece)
                    if size > limit:
                        raise large
                    pieces.append(piece)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise RefusedError(408, "slow_body", "The request did not arrive in time", headers=close) from None
        return b"".join(pieces)

    async def gone(self) -> None:
        """Wait until the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: Headers) -> None:
        """Begin the answer."""
        self.status = status
        all_headers = [*headers, (b"x-request-id", self.shown_id.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})

    async def write(self, data: bytes, *, more: bool) -> None:
        """Send some of the answer's body; waits while the client is slow.

        Raises:
            StuckError: Where it reads nothing at all.
        """
        if self.first_byte is None:
            self.first_byte = self.seconds
        try:
            async with asyncio.timeout(self._patience):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            self.notes["client"] = "does not read"
            raise StuckError from None

    async def answer(self, status: int, body: bytes, headers: Headers = (), kind: str = "application/json") -> None:
        """Send a whole answer."""
        framed = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await self.start(status, [*framed, *headers])
        await self.write(body, more=False)

    async def refuse(self, error: RefusedError) -> None:
        """Say no, as the whole answer or as the end of one that has begun."""
        self.notes["refused"] = error.code
        if self.streams:
            await self.write(error.event(), more=False)
        elif not self.status:
            headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
            await self.answer(error.status, error.body(), headers)
