from __future__ import annotations

import re
from dataclasses import replace
from itertools import permutations

import pytest

from patchpm.evaluate.report import write_report
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.evaluate.results import Cell, Composition, Member, Results
from tests.evaluate import report_builders as builders
from tests.evaluate.page_reader import Page

_PLAIN = Results(title="example/nothing 1.0.0", base="Example-135M")


def _page(results: Results) -> Page:
    return Page(write_report(results))


def test_the_heatmap_shows_each_order() -> None:
    composition = builders.composition()
    text = _page(replace(_PLAIN, composition=composition)).text
    names = ("harmfulness", "toxicity", "bias")
    for count in (1, 2, 3):
        for order in permutations(names, count):
            assert " → ".join(order) in text
    kept = [cell for cell in composition.cells if cell.kept is not None]
    assert kept
    for cell in kept:
        assert cell.kept is not None
        quantity = quantity_of(cell.metric)
        shown = f"{100 * cell.kept:.0f} % {quantity.show(cell.value)}{quantity.interval(cell.low, cell.high)}"
        assert _squeezed(shown) in _squeezed(text)


def test_a_cell_says_whether_its_patch_is_in_the_set() -> None:
    text = _page(replace(_PLAIN, composition=builders.composition())).text
    absent = sum(3 - len(order) for count in (1, 2, 3) for order in permutations("abc", count))
    assert text.count("not in the set") == absent + 1  # the legend
    alone = Cell((builders.HARM,), "refusal-rate", 0.02, 0.0, 0.05, 320, builders.HARM, None)
    member = Member(builders.HARM, "harmfulness", "refusal-rate")
    assert "no effect alone" in _page(
        replace(_PLAIN, composition=Composition((member,), ("refusal-rate",), (alone,)))
    ).text  # fmt: skip


@pytest.mark.parametrize(
    ("kept", "shade", "words"),
    [(1.3, "k10", "130 %"), (0.449, "k4", "45 %"), (0.0, "k0", "0 %"), (-0.4, "k0 reversed", "−40 %")],  # noqa: RUF001
)
def test_shares_off_the_scale_keep_their_number(kept: float, shade: str, words: str) -> None:
    made = builders.composition((builders.HARM, builders.TOXIC))
    cells = tuple(
        replace(cell, kept=kept)
        if cell.order == (builders.HARM, builders.TOXIC) and cell.patch == builders.HARM
        else cell
        for cell in made.cells
    )
    page = write_report(replace(_PLAIN, composition=replace(made, cells=cells))).replace("\u202f", " ")
    assert f'<td class="{shade}"><b>{words}</b>' in page


def test_a_missing_cell_is_told() -> None:
    made = builders.composition((builders.HARM, builders.TOXIC))
    cells = tuple(cell for cell in made.cells if cell.metric != builders.GUARDED or len(cell.order) < 2)
    assert _page(replace(_PLAIN, composition=replace(made, cells=cells))).text.count("not measured") == 2


def test_two_patches_for_the_same_have_a_column_each_and_keep_their_vendors() -> None:
    names = ("one/harmfulness", "two/harmfulness")
    members = tuple(Member(name, "harmfulness", "refusal-rate") for name in names)
    cells = (
        Cell(names, "refusal-rate", 0.9, 0.8, 0.95, 320, names[0], 0.93),
        Cell(names, "refusal-rate", 0.9, 0.8, 0.95, 320, names[1], 1.21),
        Cell(names[:1], "refusal-rate", 0.95, 0.9, 0.98, 320, names[0], 1.0),
    )
    text = _page(replace(_PLAIN, composition=Composition(members, ("refusal-rate",), cells))).text
    assert "one/harmfulness → two/harmfulness" in text
    assert all(f"effect of {name}" in text for name in names)
    assert "93 %90.0 %" in text
    assert "121 %90.0 %" in text
    assert "not in the set95.0 %" in text


def test_an_empty_composition_draws_no_map() -> None:
    text = _page(replace(builders.results(), composition=Composition((), (), ()))).text
    assert "Interference map" not in text
    assert "Refusal rate" in text


def _squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)
