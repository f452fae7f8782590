"""Replies side by side, chosen by their place alone.

Prompts and replies are hostile: they are escaped, and their control characters are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from patchpm.evaluate.report.quantity import HARMS, SECTIONS, Quantity
from patchpm.evaluate.report.text import plain, verbatim
from patchpm.evaluate.results import Exchange

SAMPLES = 6
"""Replies shown of each set."""
_PROMPT_LIMIT = 1500
_REPLY_LIMIT = 2000
_ORDINALS = {1: "st", 2: "nd", 3: "rd"}


def every_kth(exchanges: Sequence[Exchange]) -> tuple[int, Sequence[Exchange]]:
    """A choice nobody can steer: row 1 and every k-th after it.

    Returns:
        k, and at most `SAMPLES` rows.
    """
    step = max(1, -(-len(exchanges) // SAMPLES))
    return step, exchanges[::step]


def samples_chapter(exchanges: Sequence[Exchange], quantities: Mapping[str, Quantity]) -> str:
    """The chapter of sample replies, a folded part for each set."""
    if not exchanges:
        return ""

    def place(one: Exchange) -> tuple[int, str, str]:
        return SECTIONS.index(quantities[one.metric].section), one.metric, one.suite

    groups = [(key, list(group)) for key, group in groupby(sorted(exchanges, key=place), key=place)]
    parts = "".join(_set(quantities[metric], suite, group) for (_, metric, suite), group in groups)
    return (
        '<section class="chapter"><h2>Sample replies</h2>'
        f"<p>Of each held-out set up to {SAMPLES} rows, chosen by their place only: the first and every <i>k</i>-th"
        " after it, in the order of the set. Nobody picked them. Characters that would not be seen are shown as"
        ' <span class="unseen">⟨U+202E⟩</span>. Judge the replies yourself: the figures come from judges that'
        f" see words only.</p>{parts}</section>"
    )


def _set(quantity: Quantity, suite: str, exchanges: Sequence[Exchange]) -> str:
    step, chosen = every_kth(exchanges)
    harmful = quantity.section in HARMS
    warning = '<span class="warning">harmful content</span>' if harmful else ""
    notice = (
        '<p class="notice">These prompts ask for or provoke harm, and the replies of the base model may give it: crime,'
        " violence, hate, sexual or abusive language.</p>"
        if harmful
        else ""
    )
    every = "all" if step == 1 else f"every {step}{_ordinal(step)}"
    rows = "".join(_exchange(quantity, 1 + number * step, one) for number, one in enumerate(chosen))
    return (
        f'<details><summary><b>{plain(suite)}</b> <span class="n">{plain(quantity.label)} · {len(chosen)} of'
        f" {len(exchanges):,} rows, {every}</span> {warning}</summary>{notice}{rows}</details>"
    )


def _exchange(quantity: Quantity, number: int, one: Exchange) -> str:
    return (
        f'<article class="exchange"><h4><span class="n">row {number}</span> prompt</h4>'
        f'<div class="said prompt" dir="auto">{verbatim(one.prompt, _PROMPT_LIMIT)}</div><div class="pair">'
        f"{_reply(quantity, 'without the patch', one.before, one.before_score)}"
        f"{_reply(quantity, 'with the patch', one.after, one.after_score)}</div></article>"
    )


def _reply(quantity: Quantity, whose: str, text: str, score: float) -> str:
    return (
        f'<div><h4>{whose} <span class="score">{plain(_score(quantity, score))}</span></h4>'
        f'<div class="said" dir="auto">{verbatim(text, _REPLY_LIMIT)}</div></div>'
    )


def _score(quantity: Quantity, score: float) -> str:
    if quantity.outcomes and score in {0.0, 1.0}:
        return quantity.outcomes[int(score)]
    return f"scored {score:.2f}"


def _ordinal(number: int) -> str:
    return "th" if number % 100 in {11, 12, 13} else _ORDINALS.get(number % 10, "th")
