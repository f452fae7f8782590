"""Which probes are kept, and what still counts as right."""

from __future__ import annotations

import pytest

from patchpm.guard.choosing import choose, means, nearest, threshold_of


def test_probes_that_complement_each_other_are_chosen_before_equal_ones() -> None:
    separations = [[2.0, 0.0], [1.9, 0.0], [0.0, 2.0]]
    noises = [[0.05]] * 3
    assert set(choose(separations, noises, fewest=2, most=2)) == {0, 2}


def test_a_noisy_probe_is_passed_over() -> None:
    separations = [[1.0], [1.0], [0.9]]
    noises = [[0.5], [0.02], [0.02]]
    assert set(choose(separations, noises, fewest=2, most=2)) == {1, 2}


def test_more_probes_are_kept_while_they_cost_little_and_dropped_where_they_blur() -> None:
    noises = [[0.05]] * 8
    assert len(choose([[1.0]] * 8, noises)) == 8
    assert len(choose([[1.0]] * 3 + [[0.0]] * 5, noises)) < 8


def test_the_threshold_is_above_the_noise_and_never_past_the_middle_to_the_nearest() -> None:
    assert threshold_of(2.0, [0.05, 0.03]) == pytest.approx(0.15)
    assert threshold_of(0.2, [0.09]) == pytest.approx(0.1)


def test_the_nearest_alternative_is_the_least_mean() -> None:
    rows = [[1.0, 0.4], [0.6, 0.2]]
    assert means(rows, [0, 1]) == pytest.approx([0.8, 0.3])
    assert nearest(rows, [0, 1]) == pytest.approx(0.3)
