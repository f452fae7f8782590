"""What a patched model must give: the untouched base on explicit embeddings, sequence by sequence, without a cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from patchpm.model.loaded import LoadedPatch


def embeddings(
    base: nn.Module, before: Sequence[int], patches: Sequence[LoadedPatch], after: Sequence[int]
) -> torch.Tensor:
    """`[E(before); rows; E(after)]`, `(1, tokens, hidden_size)`, of the patches' rows in order."""
    embed = cast("Any", base).get_input_embeddings()
    parts = [embed(torch.tensor(before, dtype=torch.long))]
    parts += [patch.rows.to(parts[0]) for patch in patches]
    parts += [embed(torch.tensor(after, dtype=torch.long))]
    return torch.cat(parts)[None]


@torch.no_grad()
def greedy(
    base: nn.Module, start: torch.Tensor, steps: int, closed: slice = slice(0, 0)
) -> tuple[list[int], torch.Tensor]:
    """Decode greedily from explicit embeddings, never to an id in `closed` (padding rows that the prefix tokens take).

    Returns:
        The token ids, and the logits they were chosen from, `(steps, vocabulary)`.
    """
    embed = cast("Any", base).get_input_embeddings()
    ids: list[int] = []
    logits = []
    for _ in range(steps):
        last = base(inputs_embeds=start, use_cache=False).logits[0, -1]
        last[closed] = torch.finfo(last.dtype).min
        ids.append(int(last.argmax()))
        logits.append(last)
        start = torch.cat([start, embed(torch.tensor([[ids[-1]]]))], dim=1)
    return ids, torch.stack(logits)
