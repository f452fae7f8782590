"""The head of the page: what was measured on what, and the few figures that decide."""

from __future__ import annotations

from collections.abc import Sequence

from patchpm.evaluate.metrics import GUARDED
from patchpm.evaluate.report.heatmap import kept_by_patch, order_words, per_cent, short_names
from patchpm.evaluate.report.judgement import Finding
from patchpm.evaluate.report.panels import change_words
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.evaluate.report.text import plain
from patchpm.evaluate.results import Composition, Results

_CARDS = 5
_SIDES = (GUARDED, "perplexity", "choice-accuracy")
"""Side effects that get a card."""


def front(results: Results, findings: Sequence[Finding]) -> str:
    """The headline, the facts and the row of key figures."""
    return (
        f'<header><p class="eyebrow">patchpm evaluation report</p><h1>{plain(results.title)}</h1>'
        f'<dl class="facts">{_facts(results)}</dl></header>{_cards(results, findings)}'
    )


def _facts(results: Results) -> str:
    facts = [("base model", plain(results.base))]
    if results.claims:
        metrics = len({claim.metric for claim in results.claims})
        sets = len({claim.suite for claim in results.claims})
        facts.append(("measured", f"{_count(metrics, 'metric')} on {_count(sets, 'held-out set')}"))
    if results.composition is not None and results.composition.patches:
        patches = ", ".join(plain(f"{one.name} ({one.domain})") for one in results.composition.patches)
        facts.append(("patches measured together", patches))
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _cards(results: Results, findings: Sequence[Finding]) -> str:
    """What the patches are for, then side effects, then what the worst order leaves; at most five."""
    together = _kept_cards(results.composition)
    firsts = {one.claim.metric: one for one in reversed(findings)}
    heads = [one for one in reversed(firsts.values()) if one.quantity.is_headline]
    sides = [firsts[name] for name in _SIDES if name in firsts]
    room = _CARDS - min(1, len(together))
    heads = heads[: max(1, room - len(sides))]
    chosen = heads + sides[: room - len(heads)] or list(reversed(firsts.values()))[:room]
    cards = [_card(one) for one in chosen]
    cards += together[: _CARDS - len(cards)]
    if not findings:
        cards = [*together[: _CARDS - 1], _guard_card(results.composition)]
    if not any(cards):
        return '<p class="notice">Nothing was measured.</p>'
    return f'<section class="cards" aria-label="Key figures">{"".join(cards)}</section>'


def _card(finding: Finding) -> str:
    claim, quantity = finding.claim, finding.quantity
    return (
        f'<article class="card"><h2>{plain(quantity.label)}</h2><p class="big"><span class="was">'
        f'{quantity.show(claim.before)}</span> <span class="to">→</span> <b>{quantity.show(claim.after)}</b></p>'
        f'<p class="range">95 %: {quantity.interval(claim.low, claim.high)}</p>'
        f'<p class="change">{change_words(finding)}</p>'
        f'<p class="n"><span>{plain(claim.suite)}</span> '
        f"<span>n = {claim.n:,} {plain(quantity.counted)}</span></p>"
        "</article>"
    )


def _kept_cards(composition: Composition | None) -> list[str]:
    """The patch that suffers most from the others, then the rest."""
    if composition is None:
        return []
    names = short_names(composition.patches)
    found = sorted(kept_by_patch(composition).values(), key=lambda kept: kept[0].share)
    return [
        f'<article class="card"><h2>Least effect left of {plain(names[kept[0].patch])} beside other patches</h2>'
        f'<p class="big"><b>{per_cent(kept[0].share)}</b></p><p class="range">of its effect alone</p>'
        f'<p class="change"><span class="difference">{plain(order_words(kept[0].order, names))}</span></p>'
        f'<p class="n">worst of {len(kept)} orders</p></article>'
        for kept in found
    ]


def _guard_card(composition: Composition | None) -> str:
    """The order that spoils most of what no patch may spoil, for results that have no claims of it."""
    cells = [] if composition is None else [cell for cell in composition.cells if cell.metric == GUARDED]
    if composition is None or not any(cell.order for cell in cells):
        return ""
    quantity = quantity_of(GUARDED)
    worst = max((cell for cell in cells if cell.order), key=lambda cell: cell.value)
    base = next((f'<span class="was">{quantity.show(cell.value)}</span> → ' for cell in cells if not cell.order), "")
    order = order_words(worst.order, short_names(composition.patches))
    return (
        f'<article class="card"><h2>{plain(quantity.label)}, worst of all orders</h2>'
        f'<p class="big">{base}<b>{quantity.show(worst.value)}</b></p>'
        f'<p class="range">95 %: {quantity.interval(worst.low, worst.high)}</p>'
        f'<p class="change"><span class="difference">{plain(order)}</span></p>'
        f'<p class="n">n = {worst.n:,} {plain(quantity.counted)}</p></article>'
    )
