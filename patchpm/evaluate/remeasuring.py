"""Measuring what claims name, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from torch import Tensor

from patchpm.data.suite import HeldOut, Suite
from patchpm.evaluate.bench import Bench, shortened
from patchpm.evaluate.claim_check import CheckedClaim, Finding, Unmeasurable, compare, label, labelled
from patchpm.evaluate.claims import columns_of, estimate
from patchpm.evaluate.interval import Resampling
from patchpm.evaluate.metrics import METRICS, PERPLEXITY, POOLED, Metric
from patchpm.patch.manifest import Claim

_PLACES = 4


def is_named(claim: Claim, part: str, measure: str) -> bool:
    """Whether a claim is about a part of a suite, alone or with the others of its measure."""
    return any(_covers(metric, label(claim)[0], part, measure) for metric in _metrics(claim))


def measure_again(
    bench: Callable[[], Bench],
    prefix: Tensor,
    claims: Sequence[Claim],
    suites: Sequence[Suite],
    *,
    limit: int | None = None,
) -> tuple[CheckedClaim, ...]:
    """Measure a prefix once more, as far as its claims go, and say what became of each of them.

    Args:
        bench: Loads the base; asked for only when there is something to measure, and then often.
        prefix: `(tokens, hidden_size)` float32.
        claims: About this prefix on this base.
        suites: Where their rows may be.
        limit: Most rows a part, for a quick look.

    Raises:
        CannotError: What loading the judge raises.
    """
    return tuple(CheckedClaim(claim, _check(bench, prefix, claim, suites, limit)) for claim in claims)


def _check(
    bench: Callable[[], Bench], prefix: Tensor, claim: Claim, suites: Sequence[Suite], limit: int | None
) -> Finding:
    metrics = _metrics(claim)
    if not metrics:
        return Unmeasurable(f"this patchpm does not know the metric {claim.metric}")
    rows, _ = label(claim)
    for metric in metrics:
        whole = _parts(metric, rows, suites)
        parts = _parts(metric, rows, [shortened(suite, limit) for suite in suites])
        if parts:
            measured = _measured(bench(), metric, rows, parts, prefix)
            if measured is None:
                few = "" if limit is None else " in so few of them"
                return Unmeasurable(f"no row of {rows} gives a figure of {claim.metric}{few}")
            return compare(claim, measured, complete=_count(whole) == _count(parts))
    return Unmeasurable(f"there are no rows called {rows} here for {claim.metric}")


def _metrics(claim: Claim) -> list[Metric]:
    """Metrics of one name differ in what they are measured on."""
    return [metric for metric in METRICS if metric.name == claim.metric]


def _covers(metric: Metric, rows: str, part: str, measure: str) -> bool:
    return measure == metric.measure and rows in (part, POOLED.get(measure))


def _parts(metric: Metric, rows: str, suites: Iterable[Suite]) -> list[HeldOut]:
    return [part for suite in suites for part in suite.parts if _covers(metric, rows, part.name, part.measure)]


def _count(parts: Iterable[HeldOut]) -> int:
    return sum(len(part.records) for part in parts)


def _measured(bench: Bench, metric: Metric, rows: str, parts: Sequence[HeldOut], prefix: Tensor) -> Claim | None:
    """The figure in the form of a claim, or None where no item gives one."""
    before = columns_of(metric, [bench.without(part, metric.probe) for part in parts])
    after = columns_of(metric, [bench.patched(part, metric.probe, prefix) for part in parts])
    if len(after) == 0:
        return None
    found = estimate(metric, after, _resampling(len(after)))
    n = int(after[:, 1].sum()) if metric.measure == PERPLEXITY else len(after)
    figures = (float(metric.figure(before.mean(0))), found.value, found.low, found.high)
    name = labelled(metric, rows, bench.judge)
    return Claim(metric.name, name, n, *(round(value, _PLACES) for value in figures))


@cache
def _resampling(items: int) -> Resampling:
    return Resampling(items)
