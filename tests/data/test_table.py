from __future__ import annotations

import math

import pytest

from patchpm.data.table import Table
from patchpm.errors import UsageError


def test_every_kind_of_value_is_taken_once() -> None:
    table = Table(
        {"n": 3, "x": 0.5, "t": "word", "many": ["a", "b"], "on": True, "where": {"b": "2", "a": "1"}, "in": {"k": 1}},
        "top.",
    )
    assert (table.integer("n"), table.number("x", low=0), table.text("t")) == (3, 0.5, "word")
    assert (table.texts("many"), table.flag("on"), table.pairs("where")) == (("a", "b"), True, (("a", "1"), ("b", "2")))
    assert table.table("in").integer("k") == 1
    table.close()


def test_a_missing_key_is_its_default_or_an_error() -> None:
    table = Table({}, "top.")
    assert (table.integer("n", default=2), table.flag("on"), table.texts("many", empty=True)) == (2, False, ())
    assert (table.pairs("where"), table.pattern("p"), table.text_or_texts("f")) == ((), None, ())
    with pytest.raises(UsageError, match=r"no top\.n"):
        table.integer("n")


@pytest.mark.parametrize("value", [True, "1", 1.0, -1, 5, None, [1]])
def test_a_whole_number_is_in_range_and_no_truth_value(value: object) -> None:
    with pytest.raises(UsageError):
        Table({"n": value}, "").integer("n", low=0, high=4)


@pytest.mark.parametrize("value", [True, "1", -0.1, 1.1, math.nan, math.inf, -math.inf])
def test_a_number_is_finite_and_in_range(value: object) -> None:
    with pytest.raises(UsageError):
        Table({"x": value}, "").number("x", low=0, high=1)


@pytest.mark.parametrize("value", ["", 1, ["a"]])
def test_a_text_says_something(value: object) -> None:
    with pytest.raises(UsageError):
        Table({"t": value}, "").text("t")


@pytest.mark.parametrize("value", [[], [""], [1], "a", {}])
def test_a_list_of_texts_has_some(value: object) -> None:
    with pytest.raises(UsageError):
        Table({"t": value}, "").texts("t")


def test_what_is_left_over_is_refused_by_its_full_name() -> None:
    table = Table({"in": [{"a": 1, "b": 2}]}, "")
    inner = table.tables("in")[0]
    inner.integer("a")
    with pytest.raises(UsageError) as caught:
        inner.close()
    assert caught.value.why == "in[0].b"


@pytest.mark.parametrize("value", [{"a": 1}, "a", ["a"]])
def test_a_table_of_texts_holds_texts(value: object) -> None:
    with pytest.raises(UsageError):
        Table({"where": value}, "").pairs("where")


def test_a_word_outside_of_the_choices_is_answered_with_them() -> None:
    with pytest.raises(UsageError, match="one of a, b"):
        Table({"k": "c"}, "").choice("k", ("a", "b"))
