"""Choosing the few probes that tell a patch set from its neighbours best, and the distance that still counts as right.

Pure functions of measured distances.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from patchpm.guard.verdict import MARGIN

FEWEST: Final = 3
MOST: Final = 8
LEAST_SEPARATION: Final = 0.05
"""Distance below which a set is not told from a wrong one by any server."""
_LEAST_NOISE: Final = 0.01
"""Noise below this is not told from none."""
_ABOVE_NOISE: Final = 2.0
_NEARLY: Final = 0.6
"""Share of the best worst case that more probes may cost."""

Rows = Sequence[Sequence[float]]
"""Distances from the right set's answers: a row for each probe of the pool, a column for each thing compared with."""


def choose(separations: Rows, noises: Rows, *, fewest: int = FEWEST, most: int = MOST) -> tuple[int, ...]:
    """Pick probes one by one, each time the one that makes the worst case best, and keep as many as do nearly as well.

    More probes than the best few are kept for what nobody measured: another patch may agree on three, hardly on eight.
    The worst case is the nearest alternative, measured in the largest noise: the mean distance over the probes to that
    alternative, divided by the mean distance that fewer bits make.

    Args:
        separations: To each alternative.
        noises: To the right set computed in fewer bits.
        fewest: Fewest probes.
        most: Most probes.

    Returns:
        Indices into the pool, the most telling first.
    """
    chosen: list[int] = []
    scores: list[float] = []
    while len(chosen) < min(most, len(separations)):
        left = [index for index in range(len(separations)) if index not in chosen]
        best = max(left, key=lambda index: (_worth([*chosen, index], separations, noises), -index))
        chosen.append(best)
        scores.append(_worth(chosen, separations, noises))
    counts = range(min(fewest, len(chosen)), len(chosen) + 1)
    enough = _NEARLY * max(scores[count - 1] for count in counts)
    return tuple(chosen[: max(count for count in counts if scores[count - 1] >= enough)])


def choose_apart(separations: Rows, noises: Rows, optional: Collection[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Choose probes, giving up as many of the `optional` alternatives as must be for the right set to be told apart.

    Noise may move a right server straight to an alternative, and it must be the margin of a verdict nearer to the right
    set all the same; an alternative that is too near for that would make right servers of few bits unclear.

    Returns:
        The alternatives that are left, and the probes, as `choose` gives them for these.
    """
    left = list(range(len(separations[0])))
    while True:
        rows = [[row[index] for index in left] for row in separations]
        chosen = choose(rows, noises)
        distances = dict(zip(left, means(rows, chosen), strict=True))
        told = min(distances.values()) >= max(LEAST_SEPARATION, (1 + MARGIN) * max(means(noises, chosen)))
        spare = [index for index in left if index in optional]
        if told or not spare:
            return tuple(left), chosen
        left.remove(min(spare, key=lambda index: distances[index]))


def means(rows: Rows, chosen: Sequence[int]) -> list[float]:
    """The mean over the chosen probes, of each column."""
    return [sum(column) / len(chosen) for column in zip(*(rows[index] for index in chosen), strict=True)]


def threshold_of(separation: float, noises: Sequence[float]) -> float:
    """Largest distance that counts as right: well above the noise, and not past the nearest alternative.

    It is for sets that nobody measured. That an answer is nearer to the right set than to each alternative is asked of
    it besides, so these do not have to be twice as far.
    """
    return min(_ABOVE_NOISE * max(_LEAST_NOISE, *noises), separation)


def _worth(chosen: Sequence[int], separations: Rows, noises: Rows) -> float:
    return min(means(separations, chosen)) / max(_LEAST_NOISE, *means(noises, chosen))
