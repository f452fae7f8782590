"""The same base computed in fewer bits, as servers do it: how far may answers differ that are right all the same.

vLLM rounds weights, or weights and activations; llama.cpp rounds the activations too wherever weights are quantised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import nn

_BLOCK = 32
"""Values that share one scale, as in GGUF's Q8_0."""
_STEPS = 127


def _to_bfloat16(model: nn.Module) -> None:
    model.to(torch.bfloat16)


@torch.no_grad()
def _to_8_bit_weights(model: nn.Module) -> None:
    for module in _linear_layers(model):
        module.weight.copy_(_rounded(module.weight))


def _to_8_bit_activations(model: nn.Module) -> None:
    for module in _linear_layers(model):
        module.register_forward_pre_hook(_round_input)


def _to_8_bit_products(model: nn.Module) -> None:
    _to_8_bit_weights(model)
    _to_8_bit_activations(model)


ARITHMETICS: Final[dict[str, Callable[[nn.Module], None]]] = {
    "bfloat16": _to_bfloat16,
    "8-bit weights": _to_8_bit_weights,
    "8-bit activations": _to_8_bit_activations,
    "8-bit products": _to_8_bit_products,
}
"""What can be done to a model, in place, so that it answers as a server of fewer bits would."""


def _linear_layers(model: nn.Module) -> Iterator[nn.Linear]:
    return (one for one in model.modules() if isinstance(one, nn.Linear) and one.in_features % _BLOCK == 0)


def _round_input(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return (_rounded(given[0]), *given[1:])


def _rounded(values: torch.Tensor) -> torch.Tensor:
    """Rounded to 8 bits, in blocks with a scale each."""
    blocks = values.reshape(-1, _BLOCK)
    scale = blocks.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(blocks.dtype).tiny) / _STEPS
    return ((blocks / scale).round() * scale).view(values.shape)
