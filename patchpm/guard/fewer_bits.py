"""The same base computed in fewer bits, as servers do it: how far may answers differ that are right all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import nn

_BLOCK = 32
"""Weights that share one scale, as in GGUF's Q8_0."""


def _to_bfloat16(model: nn.Module) -> None:
    model.to(torch.bfloat16)


def _to_8_bit(model: nn.Module) -> None:
    _rounded(model, bits=8)


ARITHMETICS: Final[dict[str, Callable[[nn.Module], None]]] = {"bfloat16": _to_bfloat16, "8-bit weights": _to_8_bit}
"""What can be done to a model, in place, so that it answers as a server of fewer bits would."""


@torch.no_grad()
def _rounded(model: nn.Module, *, bits: int) -> None:
    """Round the weights of every linear layer to `bits`, in blocks with a scale each."""
    steps = 2 ** (bits - 1) - 1
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.in_features % _BLOCK == 0:
            blocks = module.weight.data.view(-1, _BLOCK)
            scale = blocks.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(blocks.dtype).tiny) / steps
            blocks.copy_((blocks / scale).round_() * scale)
