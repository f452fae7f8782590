"""What a right server answers, and what wrong ones would: the values of `patchpm.probes.json`.

Made by `patchpm.guard.measuring` from the base model in memory; read by everything that checks a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from patchpm.guard.distribution import Distribution
from patchpm.guard.served import Alternative, AsLocked
from patchpm.model.conversation import Message
from patchpm.patch.digest import Digest


@dataclass(frozen=True, slots=True)
class Probe:
    """A conversation that a server is asked to go on with."""

    messages: tuple[Message, ...]
    """Text only, a user message last."""
    base_tokens: int
    """Tokens of its prompt without any patch."""
    tokens: int
    """The same with the set."""
    base_text: str
    """How the base without patches begins its greedy answer, for servers that give no log-probabilities."""
    text: str
    """The same with the set."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the answers are if this is what a server serves."""

    served: AsLocked | Alternative
    answers: tuple[Distribution, ...]
    """First tokens, one list a probe."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How far the right set is from itself when the base is computed in fewer bits."""

    arithmetic: str
    """A key of `patchpm.guard.fewer_bits.ARITHMETICS`."""
    distance: float


@dataclass(frozen=True, slots=True)
class Reference:
    """What the answers for one patch set on one base must be."""

    base: Digest
    """`tensors` digest of the base that was asked."""
    template: Digest | None
    """Of its chat template."""
    set: Digest
    anchor: str
    patches: tuple[str, ...]
    """`vendor/name version` of each, in order; for people."""
    probes: tuple[Probe, ...]
    right: Hypothesis
    alternatives: tuple[Hypothesis, ...]
    noise: tuple[Noise, ...]
    threshold: float
    """Largest distance at which answers count as those of a set."""
    separation: float
    """Distance from the right set to the nearest alternative."""

    def separations(self) -> list[tuple[Hypothesis, float]]:
        """How far each alternative is from the right set."""
        return [
            (one, fmean(mine.distance(other) for mine, other in zip(self.right.answers, one.answers, strict=True)))
            for one in self.alternatives
        ]
