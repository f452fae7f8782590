"""Which probes are kept, and what still counts as right."""

from __future__ import annotations

import pytest

from patchpm.guard.choosing import choose, choose_apart, means, threshold_of


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


def test_the_threshold_is_above_the_noise_and_never_past_the_nearest() -> None:
    assert threshold_of(2.0, [0.05, 0.03]) == pytest.approx(0.1)
    assert threshold_of(0.15, [0.09]) == pytest.approx(0.15)


def test_an_optional_alternative_that_noise_hides_is_given_up_and_the_probes_are_chosen_without_it() -> None:
    separations = [[1.0, 0.09, 0.4], [0.2, 0.11, 0.2], [1.0, 0.05, 0.4]]
    noises = [[0.1], [0.02], [0.1]]
    left, chosen = choose_apart(separations, noises, optional={1, 2})
    assert left == (0, 2)
    assert chosen == choose([[1.0, 0.4], [0.2, 0.2], [1.0, 0.4]], noises)


def test_an_optional_alternative_that_answers_as_the_right_set_is_given_up_without_any_noise() -> None:
    assert choose_apart([[1.0, 0.0]] * 3, [[0.0]] * 3, optional={1})[0] == (0,)


def test_an_alternative_that_must_be_told_apart_is_never_given_up() -> None:
    assert choose_apart([[1.0, 0.0]] * 3, [[0.1]] * 3, optional={0})[0] == (1,)


def test_an_optional_alternative_is_given_up_where_its_probes_would_blur_one_that_must_be_told_apart() -> None:
    separations = [[0.04, 0.041]] * 8 + [[1.0, 0.0]] * 8
    left, chosen = choose_apart(separations, [[0.01]] * 16, optional={1})
    assert left == (0,)
    assert all(index >= 8 for index in chosen)


def test_a_mean_is_taken_over_the_chosen_probes() -> None:
    rows = [[1.0, 0.4], [9.0, 9.0], [0.6, 0.2]]
    assert means(rows, [0, 2]) == pytest.approx([0.8, 0.3])
