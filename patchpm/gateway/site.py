"""Everything that answering a request takes, made once when the gateway starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from patchpm.gateway.metrics import Metrics
from patchpm.gateway.roster import LiveRoster, Tenant
from patchpm.gateway.upstreams import Upstreams
from patchpm.patch.strict_json import JsonValue

if TYPE_CHECKING:
    from aiohttp import ClientSession

MEBIBYTE = 1024 * 1024
Policy = Literal["fail", "alarm"]
"""What an answer with a wrong count becomes: an error, or an answer that is counted and logged."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a client may ask for, and how long an engine may be silent. Sizes are bytes, times are seconds."""

    body: int = 8 * MEBIBYTE
    """Greatest request."""
    answer: int = 256 * MEBIBYTE
    """Greatest answer that is no stream."""
    silence: float = 30.0
    """Longest time without a byte of a request."""
    upload: float = 120.0
    """Longest time for a whole request."""
    engine: float = 600.0
    """Longest time without a byte of an engine's answer."""


Attest = Callable[[dict[str, JsonValue]], JsonValue]
"""Makes the answer of `/.well-known/patchpm` from the facts; signs it, where there is a key."""


def unsigned(facts: dict[str, JsonValue]) -> JsonValue:
    """The facts by themselves."""
    return facts


@dataclass(eq=False)
class Site:
    """One gateway process."""

    roster: LiveRoster
    upstreams: Upstreams
    metrics: Metrics
    client: ClientSession
    policy: Policy = "fail"
    limits: Limits = field(default_factory=Limits)
    attest: Attest = unsigned

    def facts(self, tenant: Tenant) -> dict[str, JsonValue]:
        """What this gateway says of itself to a tenant."""
        patches = tenant.injection.patches
        return {
            "version": 1,
            "base": self.roster.current.base,
            "set": str(patches.digest),
            "anchor": patches.anchor,
            "tokens": patches.tokens,
            "patches": [
                {"name": str(patch.name), "version": str(patch.version), "prefix": str(patch.digest)}
                for patch in patches.patches
            ],
            "on-mismatch": self.policy,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
