from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpm.evaluate.report.axis import axis_of
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.evaluate.report.trade_off import Variant, front_of, trade_off_file, trade_off_table
from tests.evaluate.page_reader import Page


@pytest.mark.parametrize(
    "values", [(), (0.0,), (5.0, 5.0), (0.2, 0.9), (-3.0, 1e-6), (48.0, 61.3), (float("inf"), 1.0)]
)
def test_an_axis_holds_its_values_between_round_marks(values: tuple[float, ...]) -> None:
    axis = axis_of(values)
    assert axis.low < axis.high
    assert axis.ticks[0] == axis.low
    assert axis.ticks[-1] == pytest.approx(axis.high)
    assert 2 <= len(axis.ticks) <= 8
    assert all(axis.low - 1e-9 <= value <= axis.high + 1e-9 for value in values if value < 1e9)


def test_an_axis_of_shares_never_passes_all() -> None:
    assert axis_of((0.98, 0.3, 1.0), bounds=(0, 1)).high == 1


_VARIANTS = (
    Variant("cheap", 0.7, 0.6, 0.8, 0.02, 0.0, 0.05),
    Variant("good <b>", 0.9, 0.85, 0.93, 0.08, 0.05, 0.1),
    Variant("beaten", 0.8, 0.7, 0.9, 0.2, 0.15, 0.25),
)


def test_the_front_is_what_nothing_else_beats() -> None:
    up, down = quantity_of("refusal-rate"), quantity_of("over-refusal-rate")
    assert [one.name for one in front_of(_VARIANTS[::-1], up, down)] == ["cheap", "good <b>"]
    assert [one.name for one in front_of(_VARIANTS, down, down)] == ["cheap"]
    assert [one.name for one in front_of(_VARIANTS, up, up)] == ["beaten", "good <b>"]


def test_of_scores_that_are_best_at_50_the_nearest_is_best() -> None:
    scores = [replace(_VARIANTS[0], name=str(score), effect=score) for score in (90.0, 52.0, 30.0)]
    best = front_of(scores, quantity_of("stereotype-score"), quantity_of("over-refusal-rate"))
    assert [one.name for one in best] == ["52.0"]


def test_a_front_needs_to_know_which_way_is_better() -> None:
    with pytest.raises(ValueError, match="unheard-of"):
        front_of(_VARIANTS, quantity_of("unheard-of"), quantity_of("over-refusal-rate"))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=6))
def test_any_figures_have_an_axis(values: list[float]) -> None:
    axis = axis_of(values)
    assert axis.low < axis.high
    assert 2 <= len(axis.ticks) <= 8
    assert 0 <= axis.places < 12


def test_a_trade_off_is_a_file_of_its_own_with_a_table_beside_it() -> None:
    effect, cost = quantity_of("refusal-rate"), quantity_of("over-refusal-rate")
    drawing = trade_off_file(_VARIANTS, effect, cost)
    assert "good <b>" in [
        text.text for text in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert drawing.count('class="best"') == 2
    assert drawing == trade_off_file(_VARIANTS, effect, cost)
    assert "90.0 % (85.0 to 93.0 %)" in Page(trade_off_table(_VARIANTS, effect, cost)).text
