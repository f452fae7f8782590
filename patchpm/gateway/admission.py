"""Looking at an engine before it gets requests: that it lives, what it serves, and that it puts the prefix in place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from patchpm.gateway.engine_client import fetch
from patchpm.gateway.guarding import Guarding, Policy
from patchpm.gateway.injection import Injection
from patchpm.gateway.refusal import RefusedError
from patchpm.gateway.relay import CHAT
from patchpm.gateway.roster import Roster
from patchpm.gateway.upstreams import Upstream
from patchpm.json_log import GATEWAY_LOG as LOG

if TYPE_CHECKING:
    from aiohttp import ClientSession

_PATIENCE: Final = aiohttp.ClientTimeout(total=5, sock_connect=2)
_PROBE_PATIENCE: Final = aiohttp.ClientTimeout(total=60, sock_connect=2)
_PROBES: Final[tuple[list[dict[str, Any]], ...]] = (
    [{"role": "user", "content": "Do plants need light?"}],
    [{"role": "system", "content": "You answer in one word."}, {"role": "user", "content": "Is water wet?"}],
)


class Admission:
    """The check that engines go through; see `patchpm.gateway.upstreams.Check`.

    Args:
        client: Talks to the engines.
        roster: What is served now.
        policy: Whether an engine that counts wrong is refused.
        guarding: Probes it.
    """

    def __init__(self, client: ClientSession, roster: Callable[[], Roster], policy: Policy, guarding: Guarding) -> None:
        self._client = client
        self._roster = roster
        self._policy = policy
        self._guarding = guarding

    async def __call__(self, upstream: Upstream) -> str | None:
        """Look at one engine: all of it where it is new, lost or suspect, else its health and what the guard is due."""
        try:
            status, _ = await fetch(self._client, upstream.url + "/health", _PATIENCE)
            if status != 200:
                return f"its /health says {status}"
            back = not upstream.ready or upstream.suspect
            upstream.suspect = False
            if back:
                upstream.models = await self._models(upstream)
                upstream.version = await self._version(upstream)
                if not upstream.models:
                    return "it serves no model of its own"
                why = await self._proven(upstream)
                if why is not None:
                    return why
            return await self._guarding.look(upstream, self._roster().guarded, anew=back)
        except (aiohttp.ClientError, ConnectionError, TimeoutError, RefusedError) as error:
            return "it does not answer in time" if isinstance(error, TimeoutError) else str(error)[:200]
        except (ValueError, KeyError, TypeError) as error:
            return f"it does not answer as an engine: {type(error).__name__}"

    async def _models(self, upstream: Upstream) -> tuple[str, ...]:
        if upstream.called is not None:
            return (upstream.called,)
        _, body = await fetch(self._client, upstream.url + "/v1/models", _PATIENCE)
        found = json.loads(body)
        return tuple(str(model["id"]) for model in found["data"] if not model.get("parent"))

    async def _version(self, upstream: Upstream) -> str:
        """What it says that it is, for people; not every engine does."""
        status, body = await fetch(self._client, upstream.url + "/version", _PATIENCE)
        found = json.loads(body) if status == 200 else {}
        return str(found.get("version", ""))[:80] if isinstance(found, dict) else ""

    async def _proven(self, upstream: Upstream) -> str | None:
        """Ask two things, and hold what the engine counts against what it must."""
        tenants = self._roster().tenants
        injection = next((item.injection for item in tenants if item.injection.patches.patches), tenants[0].injection)
        for messages in _PROBES:
            asked: dict[str, Any] = {
                "model": upstream.models[0], "messages": messages, "max_tokens": 1, "temperature": 0
            }  # fmt: skip
            why = await self._probe(upstream, injection, asked)
            if why is not None:
                LOG.error("engine not proven", extra={"fields": {"engine": upstream.url, "why": why}})
                return why if self._policy == "fail" else None
        return None

    async def _probe(self, upstream: Upstream, injection: Injection, asked: dict[str, Any]) -> str | None:
        request = injection.prepared(asked)
        expected = await asyncio.to_thread(injection.expected, request)
        if expected is None:
            return None  # the template takes no such conversation
        data = injection.body(upstream.addressed(request))
        status, body = await fetch(self._client, upstream.url + CHAT, _PROBE_PATIENCE, data)
        if status != 200:
            return f"it refuses a request with patches ({status}): {body[:200].decode(errors='replace')}"
        found = json.loads(body)["usage"]["prompt_tokens"]
        if found != expected:
            return f"it counts {found} prompt tokens where {expected} are right: it needs the template of this gateway"
        return None
