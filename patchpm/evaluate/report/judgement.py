"""Whether a figure got better, worse, or cannot be told: by the interval of its change."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from patchpm.evaluate.metrics import Better, is_pooled
from patchpm.evaluate.report.quantity import Quantity, page_order
from patchpm.evaluate.results import Change, Results
from patchpm.patch.manifest import Claim


class Verdict(enum.Enum):
    """What the page says of a change, in words and in colour."""

    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "no clear change"
    CHANGED = "changed"
    """Clearly, but nobody can say for better or worse."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim with all that is known of its change."""

    claim: Claim
    quantity: Quantity
    change: Change | None
    """None where the difference was not measured on the same items."""

    @property
    def pooled(self) -> bool:
        """Whether it is of all parts of a measure together; behind the suite there may be the name of a judge."""
        return is_pooled(self.claim.suite)

    @property
    def moved(self) -> float:
        """The difference that the patch makes."""
        return self.claim.after - self.claim.before if self.change is None else self.change.value

    @property
    def verdict(self) -> Verdict:
        """By the paired interval of the change; where there is none, by whether `before` lies in that of `after`."""
        if self.change is None:
            clear = not self.claim.low <= self.claim.before <= self.claim.high
        else:
            clear = not self.change.low <= 0 <= self.change.high
        if not clear or self.moved == 0:
            return Verdict.UNCLEAR
        gain = self._gain()
        if not gain:
            return Verdict.CHANGED
        return Verdict.BETTER if gain > 0 else Verdict.WORSE

    def _gain(self) -> float:
        """Above 0 for better, below 0 for worse, 0 where that cannot be said."""
        match self.quantity.better:
            case Better.HIGHER:
                return self.moved
            case Better.LOWER:
                return -self.moved
            case Better.FIFTY if (self.claim.before - 50) * (self.claim.after - 50) >= 0:
                return abs(self.claim.before - 50) - abs(self.claim.after - 50)
            case _:
                return 0


def findings_of(results: Results, quantities: Mapping[str, Quantity]) -> tuple[Finding, ...]:
    """Every claim with its change, in the order of the page."""
    changes = {(change.metric, change.suite): change for change in results.changes}
    metrics = page_order([claim.metric for claim in results.claims])
    return tuple(
        Finding(claim, quantities[claim.metric], changes.get((claim.metric, claim.suite)))
        for claim in sorted(results.claims, key=lambda claim: metrics.index(claim.metric))
    )
