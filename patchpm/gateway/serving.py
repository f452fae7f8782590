"""A gateway that runs: the client for its engines, the eyes on them, and the signals that reload it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import aiohttp

from patchpm.gateway.admission import Admission
from patchpm.gateway.counting import Counting
from patchpm.gateway.guarding import Guarding, Policy
from patchpm.gateway.metrics import Metrics
from patchpm.gateway.roster import LiveRoster, Load, Roster
from patchpm.gateway.site import Limits, Site
from patchpm.gateway.upstreams import Upstreams
from patchpm.json_log import GATEWAY_LOG as LOG
from patchpm.trust.private_keys import PrivateKey, generate

_IDLE: Final = 2.0
"""Seconds that an unused connection is kept: less than the five after which uvicorn, and so vLLM, closes it."""
_LOOK: Final = 1.0
"""Seconds between two looks at watched files."""

Running = Callable[[Site], AbstractAsyncContextManager[object]]
Watched = Callable[[], Sequence[str]]
"""The files that a roster was made of."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator decides."""

    upstreams: tuple[str, ...]
    """Addresses of the engines."""
    key: str | None = None
    """The API key that the engines want."""
    policy: Policy = "fail"
    watched: Watched | None = None
    """Where given, a change of these files reloads."""
    limits: Limits = field(default_factory=Limits)
    signer: PrivateKey = field(default_factory=generate)
    """Signs what the gateway says of itself; without one of the operator's, one that is forgotten at the end."""
    probe_every: timedelta = timedelta(minutes=10)
    """Time between two checks of an engine by the guard."""
    running: Running = nullcontext
    """Around the whole run, with the open site: who starts engines by itself tells `site.upstreams` of them here."""


def opening(options: Options, load: Load, first: Roster) -> Callable[[], AbstractAsyncContextManager[Site]]:
    """How a site is opened, for `patchpm.gateway.app.build_app`.

    Args:
        options: What the operator decides.
        load: Reads the roster anew.
        first: The roster to begin with.
    """

    @asynccontextmanager
    async def opened() -> AsyncIterator[Site]:
        metrics = Metrics()
        live = LiveRoster(load, first, metrics.reloaded)
        headers = {"accept-encoding": "identity"}
        if options.key is not None:
            headers["authorization"] = f"Bearer {options.key}"
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE, ttl_dns_cache=10),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=options.limits.engine),
            headers=headers,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as client:
            guarding = Guarding(client, options.policy, options.probe_every)
            upstreams = Upstreams(Admission(client, lambda: live.current, options.policy, guarding))
            upstreams.swap(options.upstreams)
            counting = Counting()
            site = Site(
                live, upstreams, metrics, client, counting, guarding, options.signer, options.policy, options.limits
            )
            watch = None if options.watched is None else asyncio.create_task(_watch(options.watched, live))
            try:
                with _reloading_on_hangup(live):
                    async with options.running(site):
                        yield site
            finally:
                if watch is not None:
                    watch.cancel()
                await upstreams.close()
                counting.close()

    return opened


@contextmanager
def _reloading_on_hangup(live: LiveRoster) -> Iterator[None]:
    """Reload at `SIGHUP`, where signals can be had: on the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.ensure_future(live.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _watch(watched: Watched, live: LiveRoster) -> None:
    """Reload whenever a watched file is another one, and has stayed so for a moment: writers may write several."""
    seen = await asyncio.to_thread(_state, watched)
    while True:
        await asyncio.sleep(_LOOK)
        found = await asyncio.to_thread(_state, watched)
        if found == seen:
            continue
        await asyncio.sleep(_LOOK / 4)
        if await asyncio.to_thread(_state, watched) != found:
            continue
        LOG.info("files changed")
        await live.reload()
        seen = found  # what changed during the reload is seen at the next look


def _state(watched: Watched) -> tuple[tuple[str, int, int, int] | None, ...]:
    """What tells a file from the one that was there before."""
    found: list[tuple[str, int, int, int] | None] = []
    for path in watched():
        try:
            status = os.stat(path)  # noqa: PTH116  # one system call a file, every second
        except OSError:
            found.append(None)
        else:
            found.append((path, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
