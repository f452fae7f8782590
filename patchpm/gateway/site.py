"""Everything that answering a request takes, made once when the gateway starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from patchpm.gateway.counting import Counting
from patchpm.gateway.guarding import Guarding, Policy
from patchpm.gateway.metrics import Metrics
from patchpm.gateway.roster import LiveRoster
from patchpm.gateway.upstreams import Upstreams
from patchpm.trust.private_keys import PrivateKey

if TYPE_CHECKING:
    from aiohttp import ClientSession

MEBIBYTE = 1024 * 1024


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
    reading: float = 120.0
    """Longest time that a client takes to read what waits for it, before its answer ends."""
    engine: float = 600.0
    """Longest time without a byte of an engine's answer."""


@dataclass(eq=False)
class Site:
    """One gateway process."""

    roster: LiveRoster
    upstreams: Upstreams
    metrics: Metrics
    client: ClientSession
    counting: Counting
    guarding: Guarding
    signer: PrivateKey
    """Signs what `/.well-known/patchpm` says."""
    policy: Policy = "fail"
    limits: Limits = field(default_factory=Limits)
