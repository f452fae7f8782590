"""How patches get on: sets of them in some order, each measured on what every one of them is for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

from torch import Tensor

from patchpm.data.suite import HeldOut, Suite
from patchpm.errors import UsageError
from patchpm.evaluate.bench import Bench, shortened
from patchpm.evaluate.claims import columns_of, estimate
from patchpm.evaluate.interval import Estimate, Resampling
from patchpm.evaluate.metrics import GUARDED, HEADLINES, Metric, metric_of
from patchpm.evaluate.results import Cell, Composition, Member

Order = tuple[str, ...]
"""Names of patches as they stand."""
_PLACES = 4


@dataclass(frozen=True, slots=True, eq=False)
class NamedPrefix:
    """One patch to be composed."""

    name: str
    domain: str
    matrix: Tensor
    """`(tokens, hidden_size)` float32."""


def subsets(names: Sequence[str]) -> list[Order]:
    """Every non-empty subset, each in the order of `names`."""
    return [chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size)]


def every_order(names: Sequence[str]) -> list[Order]:
    """Every non-empty subset in every order: 4 for two patches, 15 for three, 64 for four."""
    return [order for size in range(1, len(names) + 1) for order in permutations(names, size)]


def compose(
    bench: Bench,
    patches: Sequence[NamedPrefix],
    suites: Sequence[Suite],
    *,
    orders: Sequence[Order] | None = None,
    limit: int | None = None,
) -> Composition:
    """Measure sets of patches.

    Args:
        bench: The base.
        patches: Of different names.
        suites: Where the parts for the headline metrics and for over-refusal are.
        orders: What to measure; None for every order. The base and each patch alone are measured in any case.
        limit: Most rows a part.

    Raises:
        UsageError: `no-headline` for a domain that has no headline metric, or no suite for it; `unknown-patch` for an
            order that names what is not among the patches.
    """
    members = tuple(Member(patch.name, patch.domain, _headline(patch)) for patch in patches)
    names = tuple(member.name for member in members)
    wanted = every_order(names) if orders is None else list(orders)
    strange = {name for order in wanted for name in order} - set(names)
    if strange:
        raise UsageError(
            "unknown-patch", f"an order names {', '.join(sorted(strange))}, which is not among the patches"
        )
    metrics = [metric_of(name) for name in dict.fromkeys([*(member.metric for member in members), GUARDED])]
    parts = [part for suite in suites for part in shortened(suite, limit).parts]
    ordered = dict.fromkeys([(), *((name,) for name in names), *wanted])
    rows = {patch.name: patch.matrix for patch in patches}
    table = {
        order: {metric.name: _measured(bench, metric, parts, [rows[name] for name in order]) for metric in metrics}
        for order in ordered
    }
    cells = [cell for order in ordered for metric in metrics for cell in _cells(order, metric.name, members, table)]
    return Composition(members, tuple(metric.name for metric in metrics), tuple(cells))


def _headline(patch: NamedPrefix) -> str:
    if patch.domain not in HEADLINES:
        raise UsageError(
            "no-headline",
            f"{patch.name} is of the domain {patch.domain}, which has no headline metric",
            why=f"known are {', '.join(HEADLINES)}",
        )
    return HEADLINES[patch.domain]


def _measured(
    bench: Bench, metric: Metric, parts: Iterable[HeldOut], matrices: Sequence[Tensor]
) -> tuple[Estimate, int]:
    """A metric over all parts of its measure together, and how many items that are."""
    prefix = bench.joined(matrices)
    readings = [bench.patched(part, metric.probe, prefix) for part in parts if part.measure == metric.measure]
    if not readings:
        raise UsageError("no-headline", f"no suite has a part for {metric.name}", next="add the suite of that domain")
    columns = columns_of(metric, readings)
    return estimate(metric, columns, Resampling(len(columns))), len(columns)


def _cells(
    order: Order, metric: str, members: Sequence[Member], table: dict[Order, dict[str, tuple[Estimate, int]]]
) -> list[Cell]:
    """One cell for each patch of the order that the metric is for, or one without a patch."""
    found, n = table[order][metric]
    before = table[()][metric][0].value
    mine = [member.name for member in members if member.name in order and member.metric == metric]
    value, low, high = (round(figure, _PLACES) for figure in (found.value, found.low, found.high))
    cells = []
    for name in mine or [""]:
        effect = before - table[(name,)][metric][0].value if name else 0.0
        kept = round((before - found.value) / effect, _PLACES) if effect else None
        cells.append(Cell(order, metric, value, low, high, n, name, kept))
    return cells
