"""Greedy replies of a model, with or without a prefix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from patchpm.train.prefix_model import PrefixModel

BATCH = 16
"""Prompts read together."""
Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


def greedy_replies(
    model: PrefixModel, prefix: Tensor | None, prompts: Sequence[str], *, tokens: int, progress: Progress
) -> list[tuple[int, ...]]:
    """The most likely reply to each prompt, token by token.

    Prompts are read in batches of similar length, the same ones on every call, so that rounding is the same too.

    Args:
        model: The base.
        prefix: `(tokens, hidden_size)` float32, or None.
        prompts: User turns.
        tokens: Longest reply.
        progress: Told after every batch.

    Returns:
        Token ids in the order of the prompts, the end-of-turn token included where one was reached.
    """
    tails = [model.frame.tail(prompt) for prompt in prompts]
    order = sorted(range(len(tails)), key=lambda number: (len(tails[number]), tails[number]))
    found: list[tuple[int, ...]] = [()] * len(tails)
    with torch.no_grad():
        opening = model.opening(prefix)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            for number, reply in zip(chosen, _batch(model, opening, [tails[n] for n in chosen], tokens), strict=True):
                found[number] = reply
            progress(min(start + BATCH, len(order)), len(order))
    return found


def end_tokens(model: PrefixModel) -> frozenset[int]:
    """Ids that end a reply."""
    config = cast("Any", model.model).generation_config
    end = config.eos_token_id
    if end is None:
        return frozenset()
    return frozenset(end if isinstance(end, list) else [end])


def _batch(
    model: PrefixModel, opening: list[tuple[Tensor, Tensor]], tails: list[tuple[int, ...]], tokens: int
) -> list[tuple[int, ...]]:
    ends = end_tokens(model)
    width = max(len(tail) for tail in tails)
    ids = torch.tensor([[0] * (width - len(tail)) + list(tail) for tail in tails])
    mask = torch.tensor([[0] * (width - len(tail)) + [1] * len(tail) for tail in tails])
    shared = opening[0][0].shape[-2]
    whole = torch.cat([torch.ones(len(tails), shared, dtype=torch.long), mask], dim=1)
    positions = (shared + mask.cumsum(1) - 1).clamp(min=0)
    cache = model.start(opening, len(tails))
    replies: list[list[int]] = [[] for _ in tails]
    running = [True] * len(tails)
    for _ in range(tokens):
        logits = cast("Any", model.model)(
            input_ids=ids, attention_mask=whole, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits
        ids = logits[:, -1].argmax(-1, keepdim=True)
        whole = torch.cat([whole, torch.ones(len(tails), 1, dtype=torch.long)], dim=1)
        positions = positions[:, -1:] + 1
        for row, token in enumerate(ids[:, 0].tolist()):
            if running[row]:
                replies[row].append(token)
                running[row] = token not in ends
        if not any(running):
            break
    return [tuple(reply) for reply in replies]
