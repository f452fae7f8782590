"""Fewer bits change what a model computes, and by no more than the rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from patchpm.guard.fewer_bits import ARITHMETICS

STEP = 1 / 127
"""Between neighbours of a block whose largest value is 1."""


def layer(seed: int) -> nn.Linear:
    """Weights of which the largest of each block of 32 is 1."""
    torch.manual_seed(seed)
    made = nn.Linear(64, 4, bias=False)
    blocks = made.weight.data.uniform_(-1, 1).view(-1, 32)
    blocks[:, 0] = 1.0
    return made


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_a_layer_answers_nearly_the_same_in_fewer_bits_and_not_the_same(arithmetic: str) -> None:
    inputs = torch.linspace(-1, 1, 3 * 64).reshape(3, 64)
    exact = layer(0)(inputs)
    worse = layer(0)
    ARITHMETICS[arithmetic](worse)
    off = (worse(inputs.to(worse.weight.dtype)).float() - exact).abs().max()
    assert 0 < off < 64 * 2 * STEP


def test_weights_move_by_half_a_step_at_most() -> None:
    worse = layer(1)
    ARITHMETICS["8-bit weights"](worse)
    moved = (worse.weight - layer(1).weight).abs()
    assert 0 < moved.max() <= 0.5 * STEP + 1e-6
    assert torch.all(worse.weight.view(-1, 32)[:, 0] == 1.0)


def test_rounded_activations_leave_the_weights_alone() -> None:
    worse = layer(2)
    ARITHMETICS["8-bit activations"](worse)
    assert torch.equal(worse.weight, layer(2).weight)
    on_the_grid = torch.arange(64).repeat(2, 1) * STEP
    on_the_grid[:, [31, 63]] = 1.0
    assert torch.allclose(worse(on_the_grid), layer(2)(on_the_grid), atol=1e-5)
