"""From what a server answered to what it serves: a pure function of a reference and observations.

1. The distance to each hypothesis is the mean over the probes (`Distribution.distance`, or of texts where a server
   gives no log-probabilities).
2. Farther than the threshold from all of them: some other patch. Not far beyond it, and the locked set is the nearest
   by that margin: unclear, since engines that compute in few bits get there too.
3. The nearest one is what is served, if it is nearer than the others by a margin.
4. The numbers of prompt tokens are evidence of their own. They cannot acquit, since a server may say anything; but they
   must not deny that the prefix is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Final

from patchpm.guard.interview import Observation
from patchpm.guard.reference import Reference
from patchpm.guard.served import Alternative, AsLocked, Doubt, Served, Stripped, Unclear, WrongPatch

MARGIN: Final = 1.25
"""How many times farther the next hypothesis must be than the nearest."""
FAR: Final = 2.0
"""How many times the threshold is too far for the locked set in any number of bits."""
TEXT_THRESHOLD: Final = 0.5
"""The same for texts, whose distances are from 0 to 1: in fewer bits, some answers take another turn."""


class Counts(StrEnum):
    """What the numbers of prompt tokens say."""

    NOT_TOLD = "not-told"
    WITH_PREFIX = "with-prefix"
    WITHOUT_PREFIX = "without-prefix"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a server serves, with the evidence."""

    served: Served
    probes: int
    """Probes that were answered."""
    counts: Counts
    distances: tuple[tuple[AsLocked | Alternative, float], ...] = ()
    """To each hypothesis, the nearest first; 0 is the same."""
    threshold: float = 0.0
    by_text: bool = False
    """Whether texts were compared, for want of log-probabilities: weak evidence."""
    detail: str = ""
    """What the server said, where it did not answer."""

    @property
    def right(self) -> bool:
        """Whether it is the locked set."""
        return isinstance(self.served, AsLocked)

    @property
    def distance(self) -> float | None:
        """To the locked set."""
        return next((value for served, value in self.distances if isinstance(served, AsLocked)), None)


def judge(reference: Reference, seen: Sequence[Observation]) -> Finding:
    """Say what a server serves.

    Args:
        reference: For the locked set.
        seen: One observation a probe of the reference, in order.
    """
    counts = _counts(reference, seen)
    by_text = any(one.first_token is None for one in seen)
    distances = sorted(_by_text(reference, seen) if by_text else _by_tokens(reference, seen), key=lambda item: item[1])
    threshold = TEXT_THRESHOLD if by_text else reference.threshold
    (nearest, least), (_, next_least) = distances[0], distances[1]
    served: Served = nearest
    clear = next_least > MARGIN * least
    if least > threshold:
        near = isinstance(nearest, AsLocked) and clear and least <= FAR * threshold and not by_text
        served = Unclear(Doubt.TOO_FAR) if near else WrongPatch()
    elif isinstance(nearest, AsLocked) and not clear:
        served = Unclear(Doubt.TOO_CLOSE)
    elif isinstance(nearest, AsLocked) and counts in (Counts.WITHOUT_PREFIX, Counts.OTHER):
        served = Unclear(Doubt.COUNTS_DENY)
    elif isinstance(nearest, AsLocked) and by_text and counts is Counts.NOT_TOLD:
        served = Unclear(Doubt.TEXT_ONLY)
    return Finding(served, len(seen), counts, tuple(distances), threshold, by_text)


def no_answer(detail: str) -> Finding:
    """The finding where a server gave no answer that can be judged."""
    return Finding(Unclear(Doubt.NO_ANSWER), 0, Counts.NOT_TOLD, detail=detail)


def _counts(reference: Reference, seen: Sequence[Observation]) -> Counts:
    told = [one.prompt_tokens for one in seen]
    if any(count is None for count in told):
        return Counts.NOT_TOLD
    if told == [probe.tokens for probe in reference.probes]:
        return Counts.WITH_PREFIX
    return Counts.WITHOUT_PREFIX if told == [probe.base_tokens for probe in reference.probes] else Counts.OTHER


def _by_tokens(reference: Reference, seen: Sequence[Observation]) -> list[tuple[AsLocked | Alternative, float]]:
    found = [one.first_token for one in seen if one.first_token is not None]
    return [
        (one.served, fmean(answer.distance(other) for answer, other in zip(one.answers, found, strict=True)))
        for one in (reference.right, *reference.alternatives)
    ]


def _by_text(reference: Reference, seen: Sequence[Observation]) -> list[tuple[AsLocked | Alternative, float]]:
    pairs = list(zip(reference.probes, seen, strict=True))
    return [
        (AsLocked(), fmean(_parted(probe.text, one.text or "") for probe, one in pairs)),
        (Stripped(), fmean(_parted(probe.base_text, one.text or "") for probe, one in pairs)),
    ]


def _parted(expected: str, found: str) -> float:
    """The share of a text that is left where two part ways; 0 for texts of which one goes on from the other."""
    one, other = expected.strip(), found.strip()
    shorter = min(len(one), len(other))
    same = next((at for at in range(shorter) if one[at] != other[at]), shorter)
    return 1 - same / max(1, shorter)
