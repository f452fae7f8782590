from __future__ import annotations

import math

import pytest
import torch

from patchpm.train.losses import imitation, padded, preference, stay
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


def test_padding_keeps_rows_and_fills_with_zeros() -> None:
    whole = padded([torch.ones(2, 3), torch.ones(4, 3)], 3)
    assert whole.sum((1, 2)).tolist() == [6.0, 9.0]
