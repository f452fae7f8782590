from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchpm.train.losses import balance, divergence, evenness, imitation, padded, preference, stay
from patchpm.train.prefix_model import Reading


def reading(seed: int = 0, *, scale: float = 1.0) -> Reading:
    logits = torch.randn(2, 3, 11, generator=torch.Generator().manual_seed(seed)) * scale
    labels = torch.tensor([[1, 2, 3], [4, 5, 0]])
    return Reading(logits, labels, torch.tensor([[True, True, True], [True, True, False]]))


def test_imitation_is_the_mean_cross_entropy_of_the_reply_tokens() -> None:
    found = reading()
    expected = torch.nn.functional.cross_entropy(found.logits[found.mask], found.labels[found.mask])
    torch.testing.assert_close(imitation(found), expected)


def test_staying_costs_nothing_where_the_base_is_met_exactly() -> None:
    found = reading()
    top = found.logits.log_softmax(-1).topk(4)
    assert abs(float(stay(found, top.indices, top.values, 3))) < 1e-6


def test_staying_over_all_tokens_is_the_kl_divergence() -> None:
    base, patched = reading(1), reading(2)
    logs = base.logits.log_softmax(-1)
    every = logs.topk(11)
    divergence = (logs.exp() * (logs - patched.logits.log_softmax(-1))).sum(-1)
    expected = float(divergence[patched.mask].mean())
    assert float(stay(patched, every.indices, every.values, 3)) == pytest.approx(expected, abs=1e-4)


def test_staying_over_the_likely_tokens_is_a_lower_bound() -> None:
    base, patched = reading(1), reading(2)
    logs = base.logits.log_softmax(-1)
    whole, some = logs.topk(11), logs.topk(5)
    less = float(stay(patched, some.indices, some.values, 3))
    assert 0 < less <= float(stay(patched, whole.indices, whole.values, 3)) + 1e-5


def test_staying_looks_at_the_first_places_only() -> None:
    base, patched = reading(1), reading(2)
    top = base.logits.log_softmax(-1).topk(5)
    other = Reading(patched.logits.clone(), patched.labels, patched.mask)
    other.logits[:, 2] += 5 * torch.arange(11)
    assert float(stay(other, top.indices, top.values, 2)) == float(stay(patched, top.indices, top.values, 2))
    assert float(stay(other, top.indices, top.values, 3)) != float(stay(patched, top.indices, top.values, 3))


def test_a_preference_starts_at_log_two_and_falls_as_the_winner_gains() -> None:
    logs = torch.tensor([-3.0, -5.0])
    assert float(preference(logs, logs, logs, logs, 0.1)) == pytest.approx(math.log(2))
    better = preference(logs + 4, logs - 4, logs, logs, 0.1)
    assert float(better) == pytest.approx(math.log(1 + math.exp(-0.8)))


def test_the_divergence_is_that_of_kullback_and_leibler_over_the_reply_tokens() -> None:
    teacher, student = reading(1), reading(2)
    logs, other = (one.logits[one.mask].log_softmax(-1) for one in (teacher, student))
    expected = torch.nn.functional.kl_div(other, logs, reduction="batchmean", log_target=True)
    torch.testing.assert_close(divergence(teacher, student), expected)
    assert float(divergence(teacher, teacher)) == pytest.approx(0, abs=1e-6)


def test_what_stands_behind_the_end_of_a_reply_does_not_count() -> None:
    base, patched, other = reading(1), reading(2), reading(2)
    other.logits[1, 2] += 5 * torch.arange(11)
    assert float(divergence(base, other)) == float(divergence(base, patched))
    assert float(imitation(other)) == float(imitation(patched))


GAPS = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=20)


@given(GAPS)
def test_balance_is_the_same_whichever_side_is_called_the_winner(gaps: list[float]) -> None:
    one, other = torch.tensor(gaps), torch.zeros(len(gaps))
    assert float(balance(one, other)) == pytest.approx(float(balance(other, one)), abs=1e-5)
    assert 0 <= float(balance(one, other)) <= 0.5


@given(GAPS)
def test_balance_is_perfect_where_every_preference_has_its_opposite(gaps: list[float]) -> None:
    both = torch.tensor([*gaps, *(-gap for gap in gaps)])
    assert float(balance(both, torch.zeros(len(both)))) == pytest.approx(0, abs=1e-5)


def test_balance_is_lost_where_one_side_is_always_preferred_and_no_unit_matters() -> None:
    gaps = torch.tensor([30.0, 31.0, 32.0])
    assert float(balance(gaps, torch.zeros(3))) == pytest.approx(0.5, abs=1e-3)
    some = torch.tensor([1.0, 2.0, -0.5, 0.3])
    nothing = torch.zeros(4)
    assert float(balance(100 * some, nothing)) == pytest.approx(float(balance(some, nothing)), abs=1e-5)
    assert 0.1 < float(balance(some, nothing)) < 0.5


def test_balance_of_a_single_pair_is_lost() -> None:
    assert float(balance(torch.tensor([2.0]), torch.zeros(1))) == pytest.approx(0.5, abs=1e-3)


@given(GAPS)
def test_evenness_is_the_same_whichever_side_is_called_the_winner(gaps: list[float]) -> None:
    one, other = torch.tensor(gaps), torch.zeros(len(gaps))
    assert float(evenness(one, other)) == pytest.approx(float(evenness(other, one)), abs=1e-5)


def test_evenness_counts_every_pair_by_itself() -> None:
    gaps = torch.tensor([3.0, -3.0])
    assert float(evenness(gaps, torch.zeros(2))) == pytest.approx(2.95)
    assert float(evenness(gaps, gaps)) == 0


def test_a_preference_has_a_slope_even_where_everything_is_decided() -> None:
    winner = torch.tensor([300.0, -300.0], requires_grad=True)
    torch.autograd.backward(preference(winner, torch.zeros(2), torch.zeros(2), torch.zeros(2), 0.1))
    assert winner.grad is not None
    assert winner.grad.isfinite().all()
    assert winner.grad[1] < 0


def test_padding_keeps_rows_and_fills_with_zeros() -> None:
    whole = padded([torch.ones(2, 3), torch.ones(4, 3)], 3)
    assert whole.sum((1, 2)).tolist() == [6.0, 9.0]
