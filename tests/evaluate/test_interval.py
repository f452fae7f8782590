from __future__ import annotations

import pytest

from patchpm.evaluate.interval import bootstrap_perplexity, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (190, 200, 0.9104, 0.9726)],
)
def test_wilsons_interval_is_that_of_published_tables(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=1e-4)


def test_the_bootstrap_holds_the_perplexity_and_is_the_same_every_time() -> None:
    losses, tokens = [20.0, 35.0, 28.0, 31.0], [10, 12, 11, 9]
    low, high = bootstrap_perplexity(losses, tokens)
    assert low < 2.71828 ** (114 / 42) < high
    assert (low, high) == bootstrap_perplexity(losses, tokens)


def test_passages_that_are_all_alike_leave_no_doubt() -> None:
    low, high = bootstrap_perplexity([10.0] * 5, [5] * 5)
    assert low == high == pytest.approx(7.389, abs=1e-3)
