"""The engines behind a gateway: who is up, who has the least to do, and who takes the next request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from patchpm.errors import UsageError
from patchpm.gateway.refusal import no_engine
from patchpm.json_log import GATEWAY_LOG as LOG
from patchpm.patch.digest import Digest

if TYPE_CHECKING:
    from patchpm.guard.watch import Watch

_PERIOD: Final = 2.0
"""Seconds between two looks at an engine."""
_PAUSE: Final = 0.2
"""The least of them."""


@dataclass(eq=False)
class Upstream:
    """One engine."""

    url: str
    """Its address, without a slash at the end."""
    set: Digest | None = None
    """The patch set that is built into what it serves; None where each request brings its own."""
    called: str | None = None
    """What clients call its model, where it does not say so itself; then it takes no other name, and best none."""
    in_flight: int = 0
    """Requests that it works on for this gateway."""
    ready: bool = False
    """Whether it is given requests."""
    why: str = "it was not asked yet"
    """Why not."""
    models: tuple[str, ...] = ()
    """Names under which it serves the base itself; adapters are left out."""
    version: str = ""
    """As it says itself; empty where it does not."""
    turn: int = 0
    """When it was last given a request: of two with as much to do, the one that waited longer is next."""
    suspect: bool = False
    """Whether it left a request without an answer, and is asked something at the next look."""
    losses: int = 0
    """How often its connection broke."""
    watches: dict[Digest, Watch] = field(default_factory=dict)
    """What the guard knows of it, by set."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it should be looked at now."""

    def addressed(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """A request with the name of the model as this engine takes it."""
        return request if self.called is None else {key: request[key] for key in request if key != "model"}


Check = Callable[[Upstream], Awaitable[str | None]]
"""Looks at an engine; says what is wrong with it, or None."""


class Upstreams:
    """All engines. They may be exchanged while requests run: those end where they began.

    Args:
        check: Looks at one engine: at the start, every two seconds, and when a connection to it broke.
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        self._watches: dict[Upstream, asyncio.Task[None]] = {}
        self._turns = 0

    def swap(self, urls: Sequence[str | Upstream]) -> None:
        """Use these engines from now on; those that were known stay as they are. Needs a running event loop.

        Raises:
            UsageError: `bad-upstream`.
        """
        given = {item.url: item for item in urls if isinstance(item, Upstream)}
        wanted = [item.url if isinstance(item, Upstream) else address_of(item) for item in urls]
        known = {upstream.url: upstream for upstream in self._watches} | given
        watches = {}
        for url in dict.fromkeys(wanted):
            upstream = known.get(url) or Upstream(url)
            watch = self._watches.pop(upstream) if upstream in self._watches else None
            watches[upstream] = asyncio.create_task(self._watch(upstream)) if watch is None else watch
        for upstream, watch in self._watches.items():
            watch.cancel()
            upstream.ready, upstream.why = False, "it was taken out"
        self._watches = watches

    async def close(self) -> None:
        """Look no more."""
        watches = tuple(self._watches.values())
        self.swap([])
        await asyncio.gather(*watches, return_exceptions=True)

    @property
    def all(self) -> Sequence[Upstream]:
        """Every engine, in the order given."""
        return tuple(self._watches)

    @property
    def ready(self) -> Sequence[Upstream]:
        """Those that take requests."""
        return [upstream for upstream in self._watches if upstream.ready]

    @contextmanager
    def lease(self, tried: Collection[Upstream] = ()) -> Iterator[Upstream]:
        """Count one request on the engine that has the least to do.

        Args:
            tried: Engines that this request failed on.

        Raises:
            RefusedError: `no_engine`.
        """
        free = [upstream for upstream in self.ready if upstream not in tried]
        if not free:
            raise no_engine()
        chosen = min(free, key=lambda upstream: (upstream.in_flight, upstream.turn))
        self._turns += 1
        chosen.turn = self._turns
        chosen.in_flight += 1
        try:
            yield chosen
        finally:
            chosen.in_flight -= 1

    def failed(self, upstream: Upstream, why: str) -> None:
        """Take an engine out until it is looked at again: its connection broke."""
        if upstream.ready:
            LOG.warning("engine lost", extra={"fields": {"engine": upstream.url, "why": why}})
        upstream.ready, upstream.why = False, why
        upstream.losses += 1
        upstream.woken.set()

    async def _watch(self, upstream: Upstream) -> None:
        while True:
            upstream.woken.clear()
            await self._look(upstream)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PERIOD):
                    await upstream.woken.wait()
                    await asyncio.sleep(_PAUSE)

    async def _look(self, upstream: Upstream) -> None:
        losses = upstream.losses
        try:
            why = await self._check(upstream)
        except Exception as error:  # a bug in a check takes one engine out, and the watch goes on
            LOG.exception("check failed", extra={"fields": {"engine": upstream.url}})
            why = f"the check failed: {type(error).__name__}"
        if upstream.losses != losses:
            return  # it was lost meanwhile: who is there now was not looked at, and is looked at next
        fields = {"engine": upstream.url, "why": why}
        if why is None and not upstream.ready:
            LOG.info("engine ready", extra={"fields": fields})
        elif why is not None and why != upstream.why:
            LOG.warning("engine not ready", extra={"fields": fields})
        upstream.ready, upstream.why = why is None, why or ""


def address_of(url: str) -> str:
    """The address of an engine as the user typed it.

    Raises:
        UsageError: `bad-upstream`.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment or parts.username:
        raise UsageError("bad-upstream", f"{url[:200]!r} is no address of an engine", next="http://HOST:PORT")
    return url.rstrip("/").removesuffix("/v1")
