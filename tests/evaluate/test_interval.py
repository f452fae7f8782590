from __future__ import annotations

import math

import numpy as np
import pytest

from patchpm.evaluate.interval import Resampling, wilson
from patchpm.evaluate.metrics import metric_of


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (190, 200, 0.9104, 0.9726)],
)
def test_wilsons_interval_is_that_of_published_tables(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=1e-4)


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval_and_the_same_every_time() -> None:
    values = np.random.default_rng(5).normal(3.0, 2.0, (400, 1))
    figure = metric_of("kl-to-base").figure
    found = Resampling(400).estimate(values, figure)
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert found == Resampling(400).estimate(values, figure)


def test_perplexity_counts_tokens_not_passages() -> None:
    columns = np.array([[20.0, 10], [35, 12], [28, 11], [31, 9]])
    found = Resampling(4).estimate(columns, metric_of("perplexity").figure)
    assert found.value == pytest.approx(math.exp(114 / 42))
    assert found.low < found.value < found.high


def test_passages_that_are_all_alike_leave_no_doubt() -> None:
    found = Resampling(5).estimate(np.array([[10.0, 5]] * 5), metric_of("perplexity").figure)
    assert found.low == pytest.approx(found.high) == pytest.approx(math.exp(2))


def test_a_difference_is_taken_on_the_same_items_so_that_a_constant_shift_is_certain() -> None:
    before = np.random.default_rng(1).normal(0, 10, (50, 1))
    found = Resampling(50).difference(before, before - 0.5, metric_of("kl-to-base").figure)
    assert (found.value, found.low, found.high) == pytest.approx((-0.5, -0.5, -0.5))


def test_an_interval_holds_its_figure_even_where_every_draw_lies_beside_it() -> None:
    balanced = np.array([[0.0], [1.0]] * 200)
    found = Resampling(400).estimate(balanced, metric_of("stereotype-distance").figure)
    assert found.value == found.low == 0
    assert 3 < found.high < 7


def test_icat_is_100_for_a_model_that_is_fluent_and_has_no_preference() -> None:
    figure = metric_of("icat").figure
    assert figure(np.array([0.5, 1.0])) == pytest.approx(100)
    assert figure(np.array([1.0, 1.0])) == pytest.approx(0)
    assert figure(np.array([0.6, 0.9])) == pytest.approx(90 * 40 / 50)
    assert figure(np.array([0.4, 0.9])) == pytest.approx(90 * 40 / 50)
