"""A prefix beside others: what each costs for what it does, wherever the same rows were measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from patchpm.evaluate.measured import Run
from patchpm.evaluate.metrics import GUARDED, HEADLINES
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.evaluate.report.text import plain
from patchpm.evaluate.report.trade_off import Variant, trade_off, trade_off_table
from patchpm.patch.manifest import Claim

COSTS = (GUARDED, "perplexity", "language-model-score", "choice-accuracy")
"""What an effect may cost, in the order of the page."""
_NEAR, _NEAR_ZERO = 0.02, 0.01
"""How far a base model's own figure may be from itself on another machine, as a share and as a number."""
_ABOUT = (
    "Each point is a measured prefix, with 95 % intervals of both figures. The dashed line joins those that no other"
    " beats in both at once; points within each other's intervals may well change places."
)


def beside_chapter(runs: Sequence[Run]) -> str:
    """The chapter that compares, with a picture and a table for each effect and each cost.

    Args:
        runs: What the page is about, then those to compare with; without these there is no chapter.
    """
    if len(runs) < 2:
        return ""
    panels = [_panel(effect, cost, comparable(runs, effect, cost)) for effect, cost in _axes(runs)]
    absent = left_out(runs)
    names = ", ".join(plain(run.name) for run in absent)
    told = f'<p class="notice">Measured on other rows, and so not drawn: {names}.</p>' if absent else ""
    return f'<section class="chapter"><h2>Beside others</h2><p>{_ABOUT}</p>{told}{"".join(panels)}</section>'


def comparable(runs: Sequence[Run], effect: str, cost: str) -> tuple[Variant, ...]:
    """The runs of which both metrics were taken on the rows of the first, as what they do and what it costs.

    Claims hold no digest of their rows. Rows count as the same if the base model did the same on them, and if the parts
    of the suite have the same names and sizes.

    Args:
        runs: At least one.
        effect: Name of a metric.
        cost: Name of another.
    """
    first = runs[0]
    return tuple(
        Variant(run.name, did.after, did.low, did.high, paid.after, paid.low, paid.high)
        for run in runs
        if run.base is None or first.base is None or run.base == first.base
        if (did := _same_rows(first, run, effect)) and (paid := _same_rows(first, run, cost))
    )


def left_out(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs that stand in no picture beside the first one."""
    drawn = {variant.name for effect, cost in _axes(runs) for variant in comparable(runs, effect, cost)}
    return tuple(run for run in runs[1:] if run.name not in drawn)


def _axes(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The pairs of effect and cost by which at least two runs can be compared."""
    return [
        (effect, cost) for effect in HEADLINES.values() for cost in COSTS if len(comparable(runs, effect, cost)) > 1
    ]


def _same_rows(first: Run, run: Run, metric: str) -> Claim | None:
    """The claim of a metric on all parts of its suite, if both runs measured the same ones; None if not."""
    mine = [claim for claim in first.claims if claim.metric == metric]
    theirs = [claim for claim in run.claims if claim.metric == metric]
    same = [(one.suite, one.n) for one in mine] == [(other.suite, other.n) for other in theirs] and all(
        math.isclose(one.before, other.before, rel_tol=_NEAR, abs_tol=_NEAR_ZERO)
        for one, other in zip(mine, theirs, strict=True)
    )
    return theirs[0] if same and theirs else None


def _panel(effect: str, cost: str, variants: Sequence[Variant]) -> str:
    did, paid = quantity_of(effect), quantity_of(cost)
    heading = f"{did.label} against {paid.label[:1].lower()}{paid.label[1:]}"
    return (
        f'<div class="panel"><h3>{plain(heading)}</h3><div class="beside">{trade_off(variants, did, paid)}'
        f'<div class="scroll">{trade_off_table(variants, did, paid)}</div></div></div>'
    )
