from __future__ import annotations

from patchpm.train.schedule import Schedule


def test_an_epoch_sees_every_row_once() -> None:
    schedule = Schedule("seed", [number % 7 for number in range(40)], 4)
    seen = [row for step in range(10) for row in schedule.rows(step)]
    assert sorted(seen) == list(range(40))


def test_a_step_sees_the_same_rows_whatever_was_asked_before() -> None:
    lengths = [number % 5 for number in range(30)]
    one, other = Schedule("seed", lengths, 4), Schedule("seed", lengths, 4)
    forward = [one.rows(step) for step in range(20)]
    backward = [other.rows(step) for step in reversed(range(20))]
    assert forward == backward[::-1]


def test_another_seed_and_another_epoch_give_another_order() -> None:
    lengths = [1] * 30
    schedule = Schedule("seed", lengths, 5)
    assert [schedule.rows(step) for step in range(6)] != [schedule.rows(step) for step in range(6, 12)]
    assert schedule.rows(0) != Schedule("other", lengths, 5).rows(0)


def test_rows_of_a_batch_are_of_similar_length() -> None:
    lengths = list(range(64))
    schedule = Schedule("seed", lengths, 8)
    spread = [max(rows) - min(rows) for rows in (schedule.rows(step) for step in range(8))]
    assert max(spread) < 16


def test_a_pool_smaller_than_the_batch_is_used_whole() -> None:
    schedule = Schedule("seed", [3, 1], 5)
    assert sorted(schedule.rows(0)) == [0, 1]
    assert sorted(schedule.rows(9)) == [0, 1]
