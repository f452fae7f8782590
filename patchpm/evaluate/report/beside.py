"""A prefix beside others: what each costs for what it does, wherever the same rows were measured."""

from __future__ import annotations

from collections.abc import Sequence

from patchpm.evaluate.metrics import GUARDED, HEADLINES
from patchpm.evaluate.other_run import OtherRun
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.evaluate.report.text import plain
from patchpm.evaluate.report.trade_off import Variant, trade_off, trade_off_table
from patchpm.evaluate.results import Results
from patchpm.patch.manifest import Claim

COSTS = (GUARDED, "perplexity", "language-model-score", "choice-accuracy")
"""What an effect may cost, dearest first."""
_ABOUT = (
    "Each point is a measured prefix, with 95 % intervals of both figures. The dashed line joins those that no other"
    " beats in both at once; points within each other's intervals may well change places. What was measured on other"
    " rows is left out."
)


def beside_chapter(results: Results, others: Sequence[OtherRun]) -> str:
    """The chapter that compares, with a picture and a table for each effect and each cost; empty without others."""
    if not others:
        return ""
    runs = (OtherRun(results.title, results.claims), *others)
    drawn = [
        _panel(effect, cost, variants)
        for effect in HEADLINES.values()
        for cost in COSTS
        if len(variants := comparable(runs, effect, cost)) > 1
    ]
    content = "".join(drawn) or '<p class="notice">None of the others was measured on the same rows.</p>'
    return f'<section class="chapter"><h2>Beside others</h2><p>{_ABOUT}</p>{content}</section>'


def comparable(runs: Sequence[OtherRun], effect: str, cost: str) -> tuple[Variant, ...]:
    """The runs of which both metrics were taken on the rows of the first, as what they do and what it costs.

    Rows count as the same if the name of the suite and the number of items are: claims hold no digest of a suite.
    """
    did_first, paid_first = _claim(runs[0].claims, effect), _claim(runs[0].claims, cost)
    if did_first is None or paid_first is None:
        return ()
    return tuple(
        Variant(run.name, did.after, did.low, did.high, paid.after, paid.low, paid.high)
        for run in runs
        if (did := _claim(run.claims, effect, like=did_first)) and (paid := _claim(run.claims, cost, like=paid_first))
    )


def _claim(claims: Sequence[Claim], metric: str, like: Claim | None = None) -> Claim | None:
    """The first claim of a metric, which is of all parts together if there is one; or the one on the same rows."""
    return next(
        (
            claim
            for claim in claims
            if claim.metric == metric and (like is None or (claim.suite, claim.n) == (like.suite, like.n))
        ),
        None,
    )


def _panel(effect: str, cost: str, variants: Sequence[Variant]) -> str:
    did, paid = quantity_of(effect), quantity_of(cost)
    heading = f"{did.label} against {paid.label[:1].lower()}{paid.label[1:]}"
    return (
        f'<div class="panel"><h4>{plain(heading)}</h4><div class="beside">{trade_off(variants, did, paid)}'
        f'<div class="scroll">{trade_off_table(variants, did, paid)}</div></div></div>'
    )
