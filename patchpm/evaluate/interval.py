"""95 % intervals: Wilson's for shares, the bootstrap over items for everything else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchpm.evaluate.metrics import Figure

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""
DRAWS = 2000
"""Of the bootstrap."""
_SEED = 0
_PERCENTILES = (2.5, 97.5)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    Args:
        hits: How often it happened.
        n: Out of how many, at least 1.

    Source: E. B. Wilson, 1927; no continuity correction.
    """
    share = hits / n
    scale = 1 + Z * Z / n
    centre = (share + Z * Z / (2 * n)) / scale
    half = Z / scale * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval, which always holds it."""

    value: float
    low: float
    high: float


class Resampling:
    """Draws of the same items with replacement, the same ones on every call: so two columns are compared in pairs."""

    def __init__(self, n: int) -> None:
        """Draw.

        Args:
            n: Items.
        """
        dice = np.random.Generator(np.random.PCG64(_SEED))
        self._shares = dice.multinomial(n, np.full(n, 1 / n), size=DRAWS) / n

    def estimate(self, columns: NDArray[Any], figure: Figure) -> Estimate:
        """A figure of some columns.

        Args:
            columns: `(items, columns)`.
            figure: Of their means.
        """
        return _estimate(float(figure(columns.mean(0))), figure(self._shares @ columns))

    def difference(self, before: NDArray[Any], after: NDArray[Any], figure: Figure) -> Estimate:
        """`figure(after) - figure(before)`, of the same items in the same order."""
        return _estimate(
            float(figure(after.mean(0)) - figure(before.mean(0))),
            figure(self._shares @ after) - figure(self._shares @ before),
        )


def _estimate(value: float, drawn: NDArray[Any]) -> Estimate:
    low, high = (float(bound) for bound in np.percentile(drawn, _PERCENTILES))
    # A figure with a floor, as a distance has one, may lie outside of what is drawn.
    return Estimate(value, min(low, value), max(high, value))
