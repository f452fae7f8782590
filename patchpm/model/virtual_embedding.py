"""An embedding with more ids than rows: those of the patches read the patches' rows.

The module itself changes its class, as `torch.nn.utils.parametrize` does, instead of being wrapped. So no weight is
copied, `state_dict` keeps its keys, a tied head stays tied, every handle on the module sees the patch, and taking the
patch off means changing the class back.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

_BUFFER = "patchpm_rows"


class VirtualEmbedding(nn.Module):
    """Mixed into the class of a model's embedding by `virtualise`.

    Ids in `[patchpm_first, patchpm_first + n)` give row `id - patchpm_first` of `patchpm_rows`, `(n, hidden_size)`, as
    it is: where a model scales its embedding, patches are trained and applied behind the scale. Other ids go to the
    base.
    """

    patchpm_rows: torch.Tensor
    patchpm_first: int
    patchpm_active: bool
    patchpm_base: type[nn.Module]
    patchpm_hooked: Any
    """`forward` that a library (accelerate) had put on the instance, or None."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Embed ids of any shape; the result has one more dimension, `hidden_size`."""
        if not self.patchpm_active:
            return self.patchpm_embed(input)
        rows = self.patchpm_rows
        index = input - self.patchpm_first
        virtual = (index >= 0) & (index < rows.shape[0])
        embedded = self.patchpm_embed(input.masked_fill(virtual, 0))
        patched = functional.embedding(index.clamp(0, rows.shape[0] - 1).to(rows.device), rows)
        return torch.where(virtual.unsqueeze(-1).to(embedded.device), patched.to(embedded), embedded)

    def patchpm_embed(self, ids: torch.Tensor) -> torch.Tensor:
        """What the base gives for ids of its own."""
        if self.patchpm_hooked is not None:
            return cast("torch.Tensor", self.patchpm_hooked(ids))
        return cast("torch.Tensor", super().forward(ids))


def virtualise(embedding: nn.Module, rows: torch.Tensor, first: int) -> VirtualEmbedding:
    """Make `embedding` virtual, in place.

    Args:
        embedding: The base model's embedding.
        rows: `(n, hidden_size)`, any float type; cast once to the type of the embedding.
        first: The id of row 0.
    """
    base = type(embedding)
    weight = next((p for p in embedding.parameters() if p.is_floating_point()), None)
    like = rows if weight is None else weight
    hooked = embedding.__dict__.pop("forward", None)
    cast("Any", embedding).__class__ = type(f"Virtual{base.__name__}", (VirtualEmbedding, base), {})
    virtual = cast("VirtualEmbedding", embedding)
    virtual.register_buffer(_BUFFER, rows.detach().to(device=like.device, dtype=like.dtype).clone(), persistent=False)
    virtual.patchpm_first, virtual.patchpm_base, virtual.patchpm_hooked = first, base, hooked
    virtual.patchpm_active = True
    return virtual


def restore(embedding: VirtualEmbedding) -> None:
    """Give `embedding` back its own class; nothing of the patch stays."""
    base, hooked = embedding.patchpm_base, embedding.patchpm_hooked
    delattr(embedding, _BUFFER)
    for name in ("patchpm_first", "patchpm_base", "patchpm_hooked", "patchpm_active"):
        delattr(embedding, name)
    cast("Any", embedding).__class__ = base
    if hooked is not None:
        cast("Any", embedding).forward = hooked
