"""The engines behind a gateway: who is up, who has the least to do, and who takes the next request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from patchpm.errors import UsageError
from patchpm.gateway.refusal import no_engine
from patchpm.json_log import GATEWAY_LOG as LOG

_PERIOD: Final = 2.0
"""Seconds between two looks at an engine."""


@dataclass(eq=False)
class Upstream:
    """One engine."""

    url: str
    """Its address, without a slash at the end."""
    in_flight: int = 0
    """Requests that it works on for this gateway."""
    ready: bool = False
    """Whether it is given requests."""
    why: str = "it was not asked yet"
    """Why not."""
    models: tuple[str, ...] = ()
    """Names under which it serves the base itself; adapters are left out."""


Check = Callable[[Upstream], Awaitable[str | None]]
"""Looks at an engine; says what is wrong with it, or None."""


@dataclass(eq=False)
class Upstreams:
    """All engines. They may be exchanged while requests run: those end where they began.

    Args:
        check: Looks at one engine; called for each at the start, every two seconds, and never twice at once for one.
    """

    check: Check
    _all: list[Upstream] = field(default_factory=list)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def swap(self, urls: Sequence[str]) -> None:
        """Use these engines from now on; those that were known stay as they are.

        Raises:
            UsageError: `bad-upstream`.
        """
        known = {upstream.url: upstream for upstream in self._all}
        wanted = [address_of(url) for url in urls]
        self._all = [known.get(url) or Upstream(url) for url in dict.fromkeys(wanted)]
        self._woken.set()

    @property
    def all(self) -> Sequence[Upstream]:
        """Every engine, in the order given."""
        return tuple(self._all)

    @property
    def ready(self) -> Sequence[Upstream]:
        """Those that take requests."""
        return [upstream for upstream in self._all if upstream.ready]

    @contextmanager
    def lease(self, tried: Collection[Upstream] = ()) -> Iterator[Upstream]:
        """Count one request on the engine that has the least to do.

        Args:
            tried: Engines that this request failed on.

        Raises:
            RefusedError: `no_engine`.
        """
        free = [upstream for upstream in self._all if upstream.ready and upstream not in tried]
        if not free:
            why = "; ".join(f"engine {number}: {item.why}" for number, item in enumerate(self._all) if not item.ready)
            raise no_engine(why or "all that are up failed on this request")
        chosen = min(free, key=lambda upstream: upstream.in_flight)
        # Of several with the same load, the next request begins with another one.
        self._all.append(self._all.pop(self._all.index(chosen)))
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
        self._woken.set()

    async def look(self) -> None:
        """Look at every engine once."""
        await asyncio.gather(*(self._look(upstream) for upstream in self._all))

    async def watch(self) -> None:
        """Look at the engines, for ever."""
        while True:
            self._woken.clear()
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PERIOD):
                    await self._woken.wait()
                await asyncio.sleep(_PERIOD / 10)

    async def _look(self, upstream: Upstream) -> None:
        why = await self.check(upstream)
        if (why is None) != upstream.ready or (why is not None and why != upstream.why):
            fields = {"engine": upstream.url} | ({} if why is None else {"why": why})
            LOG.info("engine ready", extra={"fields": fields}) if why is None else LOG.warning(
                "engine not ready", extra={"fields": fields}
            )
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
