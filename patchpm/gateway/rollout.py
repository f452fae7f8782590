"""From one patch set to the next without a dropped request: first the new engine, then the end of the old one.

    lock -> model on disk -> second engine -> healthy -> checked -> switch -> old engine drained -> stopped

Whatever goes wrong before the switch, the old engine goes on as if nothing had been asked. For a moment both engines
hold their memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from patchpm.errors import CannotError, PatchpmError
from patchpm.gateway.engine import Engine
from patchpm.patch.digest import Digest

LOG: Final = logging.getLogger("patchpm.gateway.engine")


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A patch set in the form that an engine takes."""

    path: Path
    """Folder or GGUF file."""
    set: Digest
    """Identity of the patch set in it."""


class Front(Protocol):
    """The gateway, as far as a change of engines concerns it."""

    async def switch(self, url: str, model: PreparedModel) -> None:
        """Send every request from now on to the engine at `url`, which serves `model`."""

    async def drained(self, url: str) -> None:
        """Wait until the engine at `url` has answered every request it was given."""


Prepare = Callable[[], PreparedModel]
"""Reads the lock and makes its set ready for the engine; blocks, and raises what reading and exporting raise."""
Start = Callable[[PreparedModel], Awaitable[Engine]]
"""Starts an engine and waits until it is healthy and proven to run the set; raises if it is not."""


class Rollout:
    """The engine that serves, and the way to the next one.

    Args:
        prepare: What the project says now.
        start: How to start an engine on it.
        front: What stands before the engine.
    """

    def __init__(self, prepare: Prepare, start: Start, front: Front) -> None:
        self._prepare, self._start, self._front = prepare, start, front
        self._serving: tuple[PreparedModel, Engine] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    @property
    def model(self) -> PreparedModel | None:
        """What is served now."""
        return None if self._serving is None else self._serving[0]

    async def update(self) -> bool:
        """Serve what the project's lock says now; returns whether that is another set than before.

        Raises:
            PatchpmError: What `prepare` and `start` raise; what was served before is served still.
        """
        async with self._one_at_a_time:
            model = await asyncio.to_thread(self._prepare)
            before = self._serving
            if before is not None and before[0].set == model.set:
                return False
            engine = await self._start(model)
            await self._front.switch(engine.url, model)
            self._serving = (model, engine)
            LOG.info("serving set %s", model.set)
            if before is not None:
                self._end(before[1])
            return True

    async def try_update(self) -> None:
        """The same for a server that must go on: what cannot be done is told in the log."""
        try:
            if not await self.update():
                LOG.info("the lock says the same set as before; nothing to do")
        except PatchpmError as error:
            still = "" if self.model is None else f"; still serving set {self.model.set}"
            LOG.error("not updated: %s%s", error, still)

    async def died(self) -> None:
        """Wait until the engine that serves ends by itself, and raise that.

        Raises:
            CannotError: `engine-died`.
        """
        while True:
            serving = self._serving
            if serving is None:
                raise CannotError("engine-died", "no engine is running")
            code = await serving[1].died()
            if self._serving is serving:
                raise CannotError(
                    "engine-died",
                    f"{serving[1].name} ended with exit code {code}",
                    why=serving[1].last_lines,
                    next="start it again; whatever looks after patchpm serve can do that",
                )

    async def close(self) -> None:
        """Stop every engine. Requests must have ended."""
        serving, self._serving = self._serving, None
        if serving is not None:
            self._end(serving[1])
        await asyncio.gather(*self._stopping)

    def _end(self, engine: Engine) -> None:
        """Let an engine finish what it was asked, and stop it, in the background."""
        task = asyncio.create_task(self._drain_and_stop(engine))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _drain_and_stop(self, engine: Engine) -> None:
        await self._front.drained(engine.url)
        await engine.stop()
        LOG.info("stopped the engine at %s", engine.url)


async def changes(file: Path, every: float = 1.0) -> AsyncIterator[None]:
    """Tell each time that `file` has become another one since it was last told: written, replaced, or gone and back.

    Args:
        file: Mostly a lock; it may be missing for a while.
        every: Seconds between two looks.
    """
    known = _state(file)
    while True:
        await asyncio.sleep(every)
        now = _state(file)
        if now is not None and now != known:
            known = now
            yield


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
