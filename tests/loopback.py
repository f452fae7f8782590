"""Servers on loopback that end as soon as they may: the stock ones look whether they should in steps that add up."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import ThreadingHTTPServer

from uvicorn import Config, Server

_STEP = 0.01
"""Seconds between two looks at what must have ended."""


class Loopback(Server):
    """A uvicorn for the length of a test.

    Args:
        config: Of uvicorn.
        grace: Seconds that requests still have once it is to end.
    """

    def __init__(self, config: Config, *, grace: float) -> None:
        super().__init__(config)
        self._grace = grace
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    @contextmanager
    def running(self, listening: socket.socket) -> Iterator[None]:
        """Serve in a thread."""
        thread = threading.Thread(target=self.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.should_exit = True
            if self._loop is not None:
                with suppress(RuntimeError):  # the loop ended before, with an error of its own
                    self._loop.call_soon_threadsafe(self._ended.set)
            thread.join(20)
            listening.close()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.on_tick(0)
        if not self.should_exit:
            await self._ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(_STEP)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


@contextmanager
def in_a_thread(server: ThreadingHTTPServer) -> Iterator[None]:
    """Run a server of the standard library."""
    thread = threading.Thread(target=server.serve_forever, args=(_STEP,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
