"""One stock engine as a child process: started, waited for until it is healthy, watched, and stopped."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from patchpm.errors import CannotError
from patchpm.gateway.engine_command import EngineCommand

LOG: Final = logging.getLogger("patchpm.gateway.engine")
_KEEPER = Path(__file__).with_name("engine_keeper.py")
_HOST = "127.0.0.1"
_LAST_LINES = 12
_LONGEST_LINE = 4096


class Engine:
    """A running engine. Made by `Engine.start`, which returns once it answers."""

    def __init__(self, command: EngineCommand, model: str, port: int, process: asyncio.subprocess.Process) -> None:
        self.name = command.engine
        """As the user names the engine."""
        self.called = None if command.lists_its_model else model
        """What clients call the model; None where the engine says that itself."""
        self.url = f"http://{_HOST}:{port}"
        """Where it listens, on this machine only."""
        self._process = process
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls,
        command: EngineCommand,
        model: Path,
        name: str,
        *,
        deadline: float = 600,
        grace: float = 30,
        waiting: Callable[[float], None] = lambda _seconds: None,
    ) -> Engine:
        """Start an engine and wait until it is healthy.

        Args:
            command: Which, and how.
            model: Folder or GGUF file, as the engine takes it.
            name: What clients call the model.
            deadline: Seconds until it must be healthy.
            grace: Seconds it gets to end by itself when it is told to.
            waiting: Called about once a second meanwhile, with the seconds so far.

        Raises:
            CannotError: `engine-not-found`, `engine-died` or `engine-slow`; the last lines of its output are in it.
        """
        port = _free_port()
        line = command.line(model, _HOST, port, name)
        keeper = [sys.executable, "-I", str(_KEEPER), str(grace)]
        process = await asyncio.create_subprocess_exec(
            *keeper,
            *line,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        LOG.info("starting %s at port %d", command.engine, port)
        engine = cls(command, name, port, process)
        try:
            await engine._wait_until_healthy(deadline, waiting)
        except BaseException:
            await engine.stop()
            raise
        return engine

    @property
    def keeper(self) -> int:
        """Id of the process above all of its processes."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process.returncode is None

    @property
    def last_lines(self) -> str:
        """The end of its output."""
        return "\n".join(self._last)

    async def died(self) -> int:
        """Wait until the engine has ended, whoever ended it; returns its exit code."""
        code = await self._process.wait()
        await self._reading
        return code

    async def stop(self) -> None:
        """End it: politely at first, and all its processes in any case. It must have no requests any more."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self.died()

    async def _wait_until_healthy(self, deadline: float, waiting: Callable[[float], None]) -> None:
        started = time.monotonic()
        while not await asyncio.to_thread(_answers, self.url):
            spent = time.monotonic() - started
            if not self.alive:
                code = await self.died()
                raise CannotError(
                    "engine-died",
                    f"{self.name} ended while it started, with exit code {code}",
                    why=self.last_lines,
                    next="run it by hand on the exported model to see more",
                )
            if spent > deadline:
                raise CannotError(
                    "engine-slow",
                    f"{self.name} does not answer after {spent:.0f} s",
                    why=self.last_lines,
                    next="give it more time with --start-timeout",
                )
            waiting(spent)
            await asyncio.sleep(min(1.0, 0.1 + spent / 10))

    async def _read(self) -> None:
        """Pass the engine's output on to the log, line by line."""
        if self._process.stdout is None:
            return
        rest = b""
        while block := await self._process.stdout.read(65536):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._say(line)
            rest = rest[-_LONGEST_LINE:]
        if rest:
            self._say(rest)

    def _say(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2][:_LONGEST_LINE]
        if text.strip():
            self._last.append(text)
            LOG.info("%s: %s", self.name, text)


def _answers(url: str) -> bool:
    """Whether an engine at `url` says that it is healthy."""
    import urllib3

    try:
        with urllib3.PoolManager(retries=False, timeout=5) as pool:
            return pool.request("GET", f"{url}/health").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind((_HOST, 0))
        return int(opened.getsockname()[1])
