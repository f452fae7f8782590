"""Invented results for tests of the report: figures of the right size, measured on nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from types import MappingProxyType

from patchpm.evaluate.results import Cell, Change, Composition, Exchange, Member, Results
from patchpm.patch.manifest import Claim

HARM, TOXIC, BIAS = "example/harmfulness", "example/toxicity", "example/bias"
ALONE = {HARM: ("refusal-rate", 0.02, 0.94), TOXIC: ("average-max-toxicity", 0.61, 0.22),
         BIAS: ("stereotype-distance", 12.4, 3.1)}  # fmt: skip
"""Headline metric of each patch, without it and with it alone."""
GUARDED = "over-refusal-rate"
_FIGURES = (
    ("refusal-rate", "held-out-harmful", 320, 0.0219, 0.9375, 0.9054, 0.9592, 0.025),
    ("refusal-rate", "strongreject", 120, 0.025, 0.875, 0.804, 0.9228, 0.06),
    ("refusal-rate", "harmbench-standard", 200, 0.02, 0.975, 0.9428, 0.9893, 0.03),
    ("refusal-log-odds", "held-out-harmful", 320, -1.482, 2.913, 2.71, 3.12, 0.2),
    ("average-max-toxicity", "held-out-toxic", 350, 0.612, 0.598, 0.561, 0.634, 0.03),
    ("over-refusal-rate", "held-out-benign", 300, 0.0033, 0.0833, 0.0571, 0.1201, 0.03),
    ("over-refusal-rate", "contrast", 80, 0.0125, 0.2125, 0.1371, 0.3142, 0.09),
    ("over-refusal-rate", "everyday", 60, 0.0, 0.0333, 0.0092, 0.1136, 0.045),
    ("over-refusal-rate", "nq-open", 20, 0.0, 0.0, 0.0, 0.1611, 0.0),
    ("repetition", "held-out-benign", 300, 0.031, 0.044, 0.035, 0.054, 0.009),
    ("reply-length", "held-out-benign", 300, 30.9, 28.4, 27.6, 29.1, 0.8),
    ("kl-to-base", "held-out-benign", 300, 0.0, 0.041, 0.035, 0.048, 0.006),
    ("choice-accuracy", "piqa", 400, 0.6425, 0.6375, 0.589, 0.683, 0.02),
    ("perplexity", "wikitext", 7669, 48.4733, 49.6237, 42.1865, 58.3723, 0.4),
)
"""Metric, suite, n, before, after, interval of after, half the interval of the change."""


def figures(chosen: Sequence[str] = ()) -> tuple[tuple[Claim, ...], tuple[Change, ...]]:
    """Claims and their changes, of some metrics or of all."""
    rows = [row for row in _FIGURES if not chosen or row[0] in chosen]
    claims = tuple(Claim(*row[:7]) for row in rows)
    changes = tuple(
        Change(claim.metric, claim.suite, moved, moved - row[7], moved + row[7])
        for claim, row, moved in ((one, row, one.after - one.before) for one, row in zip(claims, rows, strict=True))
    )
    return claims, changes


def exchange(
    number: int = 0,
    *,
    metric: str = "refusal-rate",
    suite: str = "strongreject",
    texts: Mapping[str, str] = MappingProxyType({}),
) -> Exchange:
    """One exchange that differs by its number, with other `texts` by the name of their field."""
    return Exchange(
        suite=suite,
        metric=metric,
        prompt=texts.get("prompt", f"Example prompt number {number}: how does one do the thing that the set asks for?"),
        before=texts.get("before", f"Sure, here is how ({number}).\n\n1. First, take the thing.\n2. Then use it as"),
        after=texts.get(
            "after", f"I'm sorry, but I can't help with that ({number}). If you want, I can explain the law."
        ),
        before_score=0.0,
        after_score=1.0,
    )


def composition(patches: Sequence[str] = (HARM, TOXIC, BIAS)) -> Composition:
    """Every order of up to three of the patches: the later a patch stands, the less of it is left."""
    members = tuple(Member(name, name.partition("/")[2], ALONE[name][0]) for name in patches)
    heads = {member.metric: member.name for member in members}
    orders = [order for count in range(len(patches) + 1) for order in permutations(patches, count)]
    cells: list[Cell] = []
    for order in orders:
        for number, (metric, patch) in enumerate(heads.items()):
            _, before, alone = ALONE[patch]
            inside = patch in order
            lost = (0.17, 0.09, 0.2)[number] * order.index(patch) + 0.03 if inside else 0.0
            kept = 1.0 - lost * (len(order) - 1) if inside else None
            value = before if kept is None else before + (alone - before) * kept
            wide = 0.05 * max(1.0, before)
            low = max(0.0, value - wide)
            cells.append(Cell(order, metric, value, low, value + wide, 320, patch if inside else "", kept))
        over = 0.003 + 0.035 * len(order) + (0.04 if order[:1] == (HARM,) else 0.0)
        cells.append(Cell(order, GUARDED, over, over * 0.6, over * 1.5, 300, "", None))
        perplexity = 48.5 + 1.3 * len(order)
        cells.append(Cell(order, "perplexity", perplexity, perplexity - 7, perplexity + 8, 7669, "", None))
    return Composition(members, (*heads, GUARDED, "perplexity"), tuple(cells))


def results() -> Results:
    """Results with everything in them."""
    claims, changes = figures()
    return Results(
        title="example/harmfulness 1.0.0 (invented figures)",
        base="Example-135M-Instruct",
        claims=claims,
        changes=changes,
        exchanges=(
            *(exchange(number) for number in range(120)),
            *(exchange(number, metric=GUARDED, suite="contrast") for number in range(80)),
        ),
        composition=composition(),
    )
