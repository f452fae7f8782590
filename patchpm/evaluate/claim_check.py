"""Whether a claim holds: what it says against what was measured since, by whoever did.

Greedy replies, fixed seeds and one thread make a measurement repeatable. So on the same rows, all of them, with the
same judge, a claim must come out as it stands. What may differ is what another machine rounds otherwise: a tenth of
the interval, or one item of those that are counted. Where rows or judge are others, only intervals can be
compared: a claim fails there if the measured interval lies wholly on the worse side of its own.

Which rows those are, a claim says by their number only: rows that were replaced one for one look like the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from patchpm.evaluate.metrics import EVENTS, JUDGE, METRICS, Better, Metric, judged_suite
from patchpm.patch.manifest import Claim

_ROUNDING = 1e-4
"""What is lost in a claim's four decimal places, on both sides."""
_OF_INTERVAL = 0.1
_FIFTY = 50.0
_BY = " by "
"""Between the name of the rows and that of a judge who is not the usual one."""


@dataclass(frozen=True, slots=True)
class Reproduced:
    """The same figure came out, on the same number of rows."""

    word: ClassVar[str] = "holds"
    holds: ClassVar[bool | None] = True
    measured: Claim
    why: str = ""


@dataclass(frozen=True, slots=True)
class Compatible:
    """Measured in another way than the claim; the intervals overlap, so nothing speaks against it."""

    word: ClassVar[str] = "compatible"
    holds: ClassVar[bool | None] = True
    measured: Claim
    why: str


@dataclass(frozen=True, slots=True)
class NotWorse:
    """Another figure came out, and it is on the better side of the claim."""

    word: ClassVar[str] = "better"
    holds: ClassVar[bool | None] = True
    measured: Claim
    why: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The claim does not hold: what came out is worse, or the base alone is better than the claim has it."""

    word: ClassVar[str] = "does not hold"
    holds: ClassVar[bool | None] = False
    measured: Claim
    why: str


@dataclass(frozen=True, slots=True)
class Unmeasurable:
    """This patchpm does not know the metric, or has no such rows."""

    word: ClassVar[str] = "cannot be measured here"
    holds: ClassVar[bool | None] = None
    measured: ClassVar[Claim | None] = None
    why: str


Finding: TypeAlias = Reproduced | Compatible | NotWorse | Broken | Unmeasurable
"""What became of a claim. `holds` is None where nothing is known."""


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim, and what became of it."""

    claim: Claim
    finding: Finding


def compare(claim: Claim, measured: Claim, *, complete: bool = True) -> Finding:
    """Hold a claim against a measurement of the same metric on the rows of the same name.

    Args:
        claim: What was said.
        measured: What came out.
        complete: Whether all of the rows were measured.
    """
    metric = next((one for one in METRICS if one.name == claim.metric), None)
    if metric is None:
        return Unmeasurable(f"this patchpm does not know the metric {claim.metric}")
    differences = _differences(metric, claim, measured, complete)
    if not differences:
        return _on_the_same_rows(metric, claim, measured)
    why = "; ".join(differences)
    if claim.low <= measured.high and measured.low <= claim.high:
        return Compatible(measured, why)
    if _badness(metric, measured) > _badness(metric, claim):
        return Broken(measured, f"the interval lies wholly on the worse side; {why}")
    return NotWorse(measured, why)


def contradictions(claims: Sequence[Claim], evaluation: Iterable[Claim]) -> tuple[CheckedClaim, ...]:
    """Those of `claims` that somebody's figures speak against."""
    figures = {(one.metric, label(one)[0]): one for one in evaluation}
    pairs = [(claim, figures.get((claim.metric, label(claim)[0]))) for claim in claims]
    checked = [CheckedClaim(claim, compare(claim, figure)) for claim, figure in pairs if figure is not None]
    return tuple(one for one in checked if one.finding.holds is False)


def in_common(claims: Sequence[Claim], evaluation: Iterable[Claim]) -> int:
    """How many of `claims` are about what somebody else measured too."""
    figures = {(one.metric, label(one)[0]) for one in evaluation}
    return sum((claim.metric, label(claim)[0]) in figures for claim in claims)


def label(claim: Claim) -> tuple[str, str]:
    """The name of the rows that a claim is about, and the judge: the usual one where it names none."""
    if any(one.judged for one in METRICS if one.name == claim.metric):
        rows, _, judge = claim.suite.partition(_BY)
        return rows, judge or JUDGE
    return claim.suite, JUDGE


def labelled(metric: Metric, rows: str, judge: str) -> str:
    """How a claim names its rows; see `label`."""
    return judged_suite(rows, judge) if metric.judged else rows


def tolerance(metric: Metric, claim: Claim, measured: Claim) -> float:
    """How far a figure on the same rows may be from the claim: rounding, and what machines differ in.

    A claim cannot get itself more room by an interval that is too wide: the narrower of both counts.
    """
    one_item = 1 / measured.n if metric.columns[0] in EVENTS else 0.0
    interval = min(claim.high - claim.low, measured.high - measured.low)
    return _ROUNDING + max(_OF_INTERVAL * interval, one_item)


def _on_the_same_rows(metric: Metric, claim: Claim, measured: Claim) -> Finding:
    allowed = tolerance(metric, claim, measured)
    if abs(measured.after - claim.after) > allowed:
        why = f"{measured.after:.4g} on as many rows; up to {allowed:.2g} beside {claim.after:.4g} is rounding"
        worse = _badness(metric, measured) > _badness(metric, claim)
        return Broken(measured, why) if worse else NotWorse(measured, why)
    if abs(measured.before - claim.before) > allowed and _flatters(metric, claim, measured):
        return Broken(measured, f"the base alone has {measured.before:.4g}, and not {claim.before:.4g}")
    return Reproduced(measured)


def _flatters(metric: Metric, claim: Claim, measured: Claim) -> bool:
    """Whether a claim makes the base alone look worse than it is, and so the patch look better."""
    if metric.better is Better.SAME:
        return False
    return _far(metric, claim.before, claim.before) > _far(metric, measured.before, measured.before)


def _badness(metric: Metric, claim: Claim) -> float:
    return _far(metric, claim.after, claim.before)


def _far(metric: Metric, value: float, before: float) -> float:
    """How bad a figure is; more is worse."""
    match metric.better:
        case Better.HIGHER:
            return -value
        case Better.LOWER:
            return value
        case Better.SAME:
            return abs(value - before)
        case Better.FIFTY:
            return abs(value - _FIFTY)


def _differences(metric: Metric, claim: Claim, measured: Claim, complete: bool) -> list[str]:
    """In what a measurement differs from what the claim was measured in."""
    found = []
    if not complete:
        found.append(f"a quick look: n {claim.n:,} then, {measured.n:,} now")
    elif claim.n != measured.n:
        found.append(f"measured on other rows: n {claim.n:,} then, {measured.n:,} now")
    then, now = label(claim)[1], label(measured)[1]
    if metric.judged and then != now:
        found.append(f"judged by {then} then, by {now} now")
    return found
