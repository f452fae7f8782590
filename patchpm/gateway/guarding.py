"""The guard of a gateway: engines are probed before they take requests, and again every few minutes.

A patch set has a reference where `patchpm probe` wrote one beside its lock. Each engine is asked its probes with the
gateway's own injection, so what is seen is what clients get. Sets without a reference are checked by counts alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

import aiohttp

from patchpm.gateway.engine_client import fetch
from patchpm.gateway.refusal import RefusedError
from patchpm.gateway.roster import Guarded
from patchpm.gateway.upstreams import Upstream
from patchpm.guard.interview import MAX_ANSWER
from patchpm.guard.served_words import told
from patchpm.guard.verdict import Finding
from patchpm.guard.watch import Ask, Checked, Watch
from patchpm.guard.watch import Policy as GuardPolicy
from patchpm.json_log import GATEWAY_LOG as LOG
from patchpm.patch.digest import Digest

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from patchpm.gateway.injection import Injection

Policy = Literal["fail", "alarm"]
"""What follows where an engine is not right: no requests or an error, or an answer that is counted and logged."""
CHAT: Final = "/v1/chat/completions"
_PATIENCE: Final = aiohttp.ClientTimeout(total=60, sock_connect=2)
_AGAIN: Final = timedelta(seconds=30)
"""How soon an engine that was found wrong is probed again."""


@dataclass(eq=False)
class Guarding:
    """Probes engines with every guarded set; what it finds is kept with the engine.

    Args:
        client: Talks to the engines.
        policy: Whether an engine that is found wrong gets no requests, or only an alarm is raised.
        every: Time between two checks of an engine that is right.
    """

    client: ClientSession
    policy: Policy
    every: timedelta

    async def look(self, upstream: Upstream, sets: Sequence[Guarded], *, anew: bool) -> str | None:
        """Probe an engine with every set that is due.

        Args:
            upstream: The engine; it serves a model.
            sets: What it must be right with.
            anew: Whether it was away since the last check, so that what was right then says nothing.

        Returns:
            Why it gets no requests, or None.
        """
        due = {guarded.set for guarded in sets}
        upstream.watches = {which: watch for which, watch in upstream.watches.items() if which in due}
        for guarded in sets:
            watch = self._watch(upstream, guarded)
            if self._is_due(watch) or (anew and watch.last is not None and watch.last.finding.right):
                _log(upstream, guarded, await watch.check())
            if not watch.may_serve and watch.last is not None:
                return f"with set {guarded.set} it has {_shown(watch.last.finding)}, says the guard"
        return None

    def _watch(self, upstream: Upstream, guarded: Guarded) -> Watch:
        known = upstream.watches.get(guarded.set)
        if known is None or known.reference is not guarded.reference:
            known = Watch(guarded.reference, self._ask(upstream, guarded.injection), policy=GuardPolicy(self.policy))
            upstream.watches[guarded.set] = known
        return known

    def _is_due(self, watch: Watch) -> bool:
        if watch.last is None:
            return True
        period = self.every if watch.last.finding.right else min(self.every, _AGAIN)
        return datetime.now(UTC) - watch.last.at >= period

    def _ask(self, upstream: Upstream, injection: Injection) -> Ask:
        async def ask(body: bytes) -> bytes:
            asked = {**json.loads(body), "model": upstream.models[0]}
            sent = injection.body(upstream.addressed(injection.prepared(asked)))
            try:
                _, found = await fetch(self.client, upstream.url + CHAT, _PATIENCE, sent, limit=MAX_ANSWER)
            except (aiohttp.ClientError, RefusedError) as error:
                raise ConnectionError(str(error)[:200]) from error
            return found

        return ask


def last(upstreams: Iterable[Upstream], which: Digest) -> Checked | None:
    """The worst finding of a set among these engines, and the latest of those that are as bad."""
    watches = [upstream.watches[which] for upstream in upstreams if which in upstream.watches]
    found = [watch.last for watch in watches if watch.last is not None]
    return max(found, key=lambda checked: (not checked.finding.right, checked.at), default=None)


def metrics(upstreams: Iterable[Upstream]) -> list[tuple[str, dict[str, str], float]]:
    """Values for Prometheus: name, labels, value; see `Watch.metrics`."""
    return [
        (name, {**labels, "engine": upstream.url}, value)
        for upstream in upstreams
        for watch in upstream.watches.values()
        for name, labels, value in watch.metrics()
    ]


def _log(upstream: Upstream, guarded: Guarded, checked: Checked) -> None:
    finding = checked.finding
    fields = {
        "engine": upstream.url,
        "set": str(guarded.set),
        "served": finding.served.kind,
        "says": told(finding.served),
        "distance": finding.distance,
        "threshold": finding.threshold,
    }
    if finding.right:
        LOG.info("guard", extra={"fields": fields})
    else:
        LOG.error("guard", extra={"fields": fields | ({"detail": finding.detail} if finding.detail else {})})


def _shown(finding: Finding) -> str:
    return f"{told(finding.served)} ({finding.detail})" if finding.detail else told(finding.served)
