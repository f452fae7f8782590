"""An axis: round numbers to mark, and where a value stands between them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LEAST, _MOST = 1e-6, 1e12
"""What is nearer to 0 is 0, and what is farther stands at the end: no figure of ours is, and a file may hold any."""
_NEAR_ZERO = 0.6
"""An axis starts at 0 if its least value is below this share of its greatest."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale of one unit."""

    low: float
    high: float
    step: float

    @property
    def ticks(self) -> tuple[float, ...]:
        """The values that are marked."""
        return tuple(self.low + number * self.step for number in range(round((self.high - self.low) / self.step) + 1))

    @property
    def from_zero(self) -> bool:
        """Whether lengths along it can be compared."""
        return self.low <= 0 <= self.high

    @property
    def places(self) -> int:
        """Decimals that tell its marks apart."""
        return max(0, next(p for p in range(12) if math.isclose(self.step, round(self.step, p), rel_tol=1e-6)))

    def share(self, value: float) -> float:
        """Where a value stands, 0 to 1; what is off the axis stands at its end."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def percent(self, value: float) -> str:
        """The same as a coordinate of an SVG that is as wide as it may."""
        return f"{100 * self.share(value):.2f}%"


def axis_of(
    values: Iterable[float], *, bounds: tuple[float | None, float | None] = (None, None), marks: int = 5
) -> Axis:
    """The smallest axis with round marks that holds all values.

    Args:
        values: Ends of intervals among them.
        bounds: What no value can go below or above, so that no mark does.
        marks: About how many steps.
    """
    known = [_drawable(value) for value in values if math.isfinite(value)] or [0.0]
    least, most = min(known), max(known)
    if 0 <= least < _NEAR_ZERO * most or least == most == 0:
        least = 0.0
    if most - least < max(_LEAST, 1e-9 * max(abs(least), abs(most))):
        most = least
    if least == most:
        least, most = (0.0, most or 1.0) if most >= 0 else (most, 0.0)
    step = _round_step((most - least) / marks)
    low, high = math.floor(least / step + 1e-9) * step, math.ceil(most / step - 1e-9) * step
    floor, ceiling = bounds
    low = low if floor is None else max(low, floor)
    high = high if ceiling is None else min(high, ceiling)
    return Axis(low, high if high > low else low + step, step)


def _drawable(value: float) -> float:
    return 0.0 if abs(value) < _LEAST else min(max(value, -_MOST), _MOST)


def _round_step(least: float) -> float:
    """The round number not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))
