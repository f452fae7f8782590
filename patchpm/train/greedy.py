"""Greedy replies of a model, with or without a prefix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from patchpm.train.prefix_model import Opening, PrefixModel

BATCH = 16
"""Prompts read together."""
Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as token ids, and what else the model would have said.

    Attributes:
        ids: Token ids, the end-of-turn token included where one was reached.
        top_ids: `(tokens, top)` int64, the most likely tokens at each place.
        top_logs: `(tokens, top)` float32, their log-probabilities.
    """

    ids: tuple[int, ...]
    top_ids: Tensor
    top_logs: Tensor


def greedy_replies(
    model: PrefixModel, prefix: Tensor | None, prompts: Sequence[str], *, tokens: int, progress: Progress, top: int = 1
) -> list[Reply]:
    """The most likely reply to each prompt, token by token.

    Prompts are read in batches of similar length, the same ones on every call, so that rounding is the same too.

    Args:
        model: The base.
        prefix: `(tokens, hidden_size)` float32, or None.
        prompts: User turns.
        tokens: Longest reply.
        progress: Told after every batch.
        top: How many of the most likely tokens to keep at each place.

    Returns:
        The replies in the order of the prompts.
    """
    tails = [model.frame.tail(prompt) for prompt in prompts]
    order = sorted(range(len(tails)), key=lambda number: (len(tails[number]), tails[number]))
    found: dict[int, Reply] = {}
    with torch.no_grad():
        opening = model.opening(prefix)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            replies = _batch(model, opening, [tails[number] for number in chosen], tokens, top)
            found.update(zip(chosen, replies, strict=True))
            progress(min(start + BATCH, len(order)), len(order))
    return [found[number] for number in range(len(tails))]


def end_tokens(model: PrefixModel) -> frozenset[int]:
    """Ids that end a reply."""
    config = cast("Any", model.model).generation_config
    end = config.eos_token_id
    if end is None:
        return frozenset()
    return frozenset(end if isinstance(end, list) else [end])


def _batch(model: PrefixModel, opening: Opening, tails: list[tuple[int, ...]], tokens: int, top: int) -> list[Reply]:
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
    logs, likely = [], []
    for _ in range(tokens):
        logits = cast("Any", model.model)(
            input_ids=ids,
            attention_mask=whole,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        best = logits[:, -1].log_softmax(-1).topk(top)
        logs.append(best.values)
        likely.append(best.indices)
        ids = logits[:, -1].argmax(-1, keepdim=True)
        whole = torch.cat([whole, torch.ones(len(tails), 1, dtype=torch.long)], dim=1)
        positions = positions[:, -1:] + 1
        for row, token in enumerate(ids[:, 0].tolist()):
            if running[row]:
                replies[row].append(token)
                running[row] = token not in ends
        if not any(running):
            break
    top_logs, top_ids = torch.stack(logs, dim=1), torch.stack(likely, dim=1)
    return [
        Reply(tuple(reply), top_ids[row, : len(reply)].clone(), top_logs[row, : len(reply)].clone())
        for row, reply in enumerate(replies)
    ]
