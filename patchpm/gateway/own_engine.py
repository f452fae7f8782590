"""The engine that a gateway starts by itself, with the patch set built in, and the way to the next set.

    new lock -> export -> second engine -> healthy -> proven -> switch -> old engine drained -> stopped

Whatever goes wrong before the switch, the old engine goes on as if nothing had been asked. For a moment there are two
engines in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from patchpm.errors import CannotError, PatchpmError
from patchpm.gateway.admission import Admission
from patchpm.gateway.engine import Engine
from patchpm.gateway.roster import Roster
from patchpm.gateway.site import Site
from patchpm.gateway.upstreams import Upstream
from patchpm.json_log import GATEWAY_LOG as LOG
from patchpm.model.loaded import PatchSet
from patchpm.patch.digest import Digest

_QUIET: Final = 2.0
"""Seconds without a request after which an engine that was replaced is stopped."""
_LONGEST_DRAIN: Final = 3600.0
"""Seconds that an answer of an engine that was replaced may still take."""
_LONGEST_PAUSE: Final = 60.0

Export = Callable[[PatchSet], Path]
"""Makes the model with a set in it; blocks, and raises what exporting raises."""
Start = Callable[[Path], Awaitable[Engine]]
"""Starts an engine on such a model and waits until it is healthy."""


@dataclass(frozen=True, slots=True, eq=False)
class _Serving:
    roster: Roster
    set: Digest
    engine: Engine
    upstream: Upstream


class OwnEngine:
    """The one engine behind a site.

    Args:
        site: Told of every engine; its reloads go through `bring_up`.
        export: How a set becomes a model.
        start: How a model becomes an engine.
    """

    def __init__(self, site: Site, export: Export, start: Start) -> None:
        self._site, self._export, self._start = site, export, start
        self._serving: _Serving | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._engines: set[Engine] = set()

    async def bring_up(self, roster: Roster) -> None:
        """Serve what a roster says, before it holds.

        Raises:
            PatchpmError: What exporting and starting raise, `engine-not-proven`, `base-changed`; what was served
                before is served still.
        """
        patches = _set_of(roster)
        before = self._serving
        if before is not None and before.set == patches.digest:
            return
        if before is not None and before.roster.base != roster.base:
            raise CannotError(
                "base-changed",
                "the lock is for another base model now",
                why=f"this server serves {before.roster.base}, and the lock says {roster.base}",
                next="stop it and start it again",
            )
        self._take_over(await self._started(roster, patches))
        if before is not None:
            self._in_background(self._retire(before))

    async def close(self) -> None:
        """Stop every engine. Requests must have ended."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(engine.stop() for engine in tuple(self._engines)))

    async def _started(self, roster: Roster, patches: PatchSet) -> _Serving:
        """An engine that is up and counts the tokens of the set; its model may have been deleted since it was made."""
        engine = await self._start(await asyncio.to_thread(self._export, patches))
        self._engines.add(engine)
        try:
            upstream = Upstream(engine.url, set=patches.digest, called=engine.called)
            why = await Admission(self._site.client, lambda: roster, self._site.policy, self._site.guarding)(upstream)
            if why is not None:
                raise CannotError(
                    "engine-not-proven",
                    f"{engine.name} runs, but not with the patches",
                    why=why,
                    next="leave out options that change its chat template",
                )
        except BaseException:
            await self._stop(engine)
            raise
        upstream.ready, upstream.why = True, ""
        return _Serving(roster, patches.digest, engine, upstream)

    def _take_over(self, serving: _Serving) -> None:
        self._serving = serving
        self._site.upstreams.swap([serving.upstream])
        self._in_background(self._look_after(serving))
        LOG.info("engine serves", extra={"fields": {"engine": serving.engine.url, "set": str(serving.set)}})

    async def _retire(self, old: _Serving) -> None:
        """Let an engine finish what it was asked, and stop it."""
        quiet = waited = 0.0
        while quiet < _QUIET and waited < _LONGEST_DRAIN:
            await asyncio.sleep(_QUIET / 4)
            waited += _QUIET / 4
            quiet = 0.0 if old.upstream.in_flight else quiet + _QUIET / 4
        await self._stop(old.engine)
        LOG.info("engine retired", extra={"fields": {"engine": old.engine.url, "set": str(old.set)}})

    async def _look_after(self, serving: _Serving) -> None:
        """Start the engine again when it dies, at longer and longer intervals as long as it will not live."""
        code = await serving.engine.died()
        self._engines.discard(serving.engine)
        pause = 1.0
        while self._serving is serving:
            fields = {"engine": serving.engine.url, "code": code, "last": serving.engine.last_lines}
            LOG.error("engine died", extra={"fields": fields})
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                again = await self._started(serving.roster, _set_of(serving.roster))
            except PatchpmError as error:
                LOG.error("engine not started", extra={"fields": {"code": error.code, "what": error.what}})
                continue
            except Exception:  # a bug, or a full disk: whoever looks after the engine must not stop trying
                LOG.exception("engine not started")
                continue
            if self._serving is serving:
                self._take_over(again)
            else:
                await self._stop(again.engine)

    async def _stop(self, engine: Engine) -> None:
        await engine.stop()
        self._engines.discard(engine)

    def _in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class WithOwnEngine:
    """What `Options.running` of a gateway is, when it has an engine of its own.

    Args:
        export: How a set becomes a model.
        start: How a model becomes an engine.
    """

    def __init__(self, export: Export, start: Start) -> None:
        self._export, self._start = export, start
        self.failed: PatchpmError | None = None
        """Why the first engine did not start, which ends the server."""

    @asynccontextmanager
    async def __call__(self, site: Site) -> AsyncIterator[None]:
        """Run the engine of a site."""
        engine = OwnEngine(site, self._export, self._start)
        try:
            try:
                await engine.bring_up(site.roster.current)
            except PatchpmError as error:
                self.failed = error
                raise
            site.roster.prepare = engine.bring_up
            yield
        finally:
            await engine.close()


def _set_of(roster: Roster) -> PatchSet:
    assert roster.open_to is not None, "an engine of its own has one set, for everybody"
    return roster.open_to.injection.patches
