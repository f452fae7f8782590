from __future__ import annotations

from patchpm.train.schedule import Schedule
from patchpm.train.team import Team

TEAM = Team()


class Pair(Team):
    """One of two processes."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank, self.size = rank, 2


def test_an_epoch_sees_every_row_once() -> None:
    schedule = Schedule("seed", [number % 7 for number in range(40)], 4, TEAM)
    seen = [row for step in range(10) for row in schedule.rows(step)]
    assert sorted(seen) == list(range(40))


def test_a_step_sees_the_same_rows_whatever_was_asked_before() -> None:
    lengths = [number % 5 for number in range(30)]
    one, other = Schedule("seed", lengths, 4, TEAM), Schedule("seed", lengths, 4, TEAM)
    forward = [one.rows(step) for step in range(20)]
    backward = [other.rows(step) for step in reversed(range(20))]
    assert forward == backward[::-1]


def test_another_seed_and_another_epoch_give_another_order() -> None:
    lengths = [1] * 30
    schedule = Schedule("seed", lengths, 5, TEAM)
    assert [schedule.rows(step) for step in range(6)] != [schedule.rows(step) for step in range(6, 12)]
    assert schedule.rows(0) != Schedule("other", lengths, 5, TEAM).rows(0)


def test_rows_of_a_batch_are_of_similar_length() -> None:
    lengths = list(range(64))
    schedule = Schedule("seed", lengths, 8, TEAM)
    spread = [max(rows) - min(rows) for rows in (schedule.rows(step) for step in range(8))]
    assert max(spread) < 16


def test_a_pool_smaller_than_the_batch_is_used_whole() -> None:
    schedule = Schedule("seed", [3, 1], 5, TEAM)
    assert sorted(schedule.rows(0)) == [0, 1]
    assert sorted(schedule.rows(9)) == [0, 1]


def test_two_processes_share_each_batch_between_them() -> None:
    lengths = [number % 5 for number in range(30)]
    whole = Schedule("seed", lengths, 5, TEAM)
    one, other = (Schedule("seed", lengths, 5, Pair(rank)) for rank in range(2))
    for step in range(12):
        shares = one.rows(step), other.rows(step)
        assert sorted([*shares[0], *shares[1]]) == sorted(whole.rows(step))
        assert {len(share) for share in shares} == {2, 3}


def test_a_batch_too_small_to_be_shared_is_read_by_both() -> None:
    one, other = (Schedule("seed", [4, 2], 1, Pair(rank)) for rank in range(2))
    assert all(one.rows(step) == other.rows(step) and len(one.rows(step)) == 1 for step in range(4))
