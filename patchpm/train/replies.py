"""Replies of a model, with or without a prefix: greedy ones, and samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from patchpm.train.prefix_model import Opening, PrefixModel

BATCH = 64
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


_Pick = Callable[[Tensor], Tensor]
"""Chooses the next token of each row, `(batch, 1)`, from logits `(batch, vocabulary)`."""
_NUCLEUS = 256
"""Of how many of the most likely tokens a sample is drawn at most."""


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
    found: dict[int, Reply] = {}
    with torch.no_grad():
        opening = model.opening(prefix)
        for chosen in _batches(tails):
            replies = _batch(model, opening, [tails[number] for number in chosen], tokens, top, _best)
            found.update(zip(chosen, replies, strict=True))
            progress(len(found), len(tails))
    return [found[number] for number in range(len(tails))]


def sampled_replies(
    model: PrefixModel,
    prefix: Tensor | None,
    prompts: Sequence[str],
    *,
    tokens: int,
    samples: int,
    seed: int,
    progress: Progress,
    temperature: float = 1.0,
    top_p: float = 0.9,
) -> list[list[Reply]]:
    """Several replies to each prompt, drawn by nucleus sampling; the same seed gives the same draws.

    Args:
        model: The base.
        prefix: `(tokens, hidden_size)` float32, or None.
        prompts: User turns.
        tokens: Longest reply.
        samples: Replies a prompt.
        seed: Of the draws.
        progress: Told after every batch, in prompts.
        temperature: Divides the logits.
        top_p: Probability that the tokens drawn from have together, at least.

    Source: arXiv 1904.09751, nucleus sampling.
    """
    tails = [model.frame.tail(prompt) for prompt in prompts for _ in range(samples)]
    found: dict[int, Reply] = {}
    with torch.no_grad():
        opening = model.opening(prefix)
        for number, chosen in enumerate(_batches(tails)):
            dice = torch.Generator().manual_seed((seed * 1_000_003 + number) % (1 << 63))
            pick = _nucleus(dice, temperature, top_p)
            replies = _batch(model, opening, [tails[row] for row in chosen], tokens, 1, pick)
            found.update(zip(chosen, replies, strict=True))
            progress(len(found) // samples, len(prompts))
    return [[found[row * samples + draw] for draw in range(samples)] for row in range(len(prompts))]


def _batches(tails: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Rows that are read together: of similar length."""
    order = sorted(range(len(tails)), key=lambda number: (len(tails[number]), tails[number], number))
    return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def _best(logits: Tensor) -> Tensor:
    return logits.argmax(-1, keepdim=True)


def _nucleus(dice: torch.Generator, temperature: float, top_p: float) -> _Pick:
    def pick(logits: Tensor) -> Tensor:
        top = (logits / temperature).softmax(-1).topk(min(_NUCLEUS, logits.shape[-1]))
        outside = top.values.cumsum(-1) - top.values > top_p
        # Drawn on the CPU, so that a seed means the same on every device.
        drawn = torch.multinomial(top.values.masked_fill(outside, 0).cpu(), 1, generator=dice)
        return top.indices.gather(-1, drawn.to(logits.device))

    return pick


def end_tokens(model: PrefixModel) -> frozenset[int]:
    """Ids that end a reply."""
    config = cast("Any", model.model).generation_config
    end = config.eos_token_id
    if end is None:
        return frozenset()
    return frozenset(end if isinstance(end, list) else [end])


def _batch(
    model: PrefixModel, opening: Opening, tails: list[tuple[int, ...]], tokens: int, top: int, pick: _Pick
) -> list[Reply]:
    ends = end_tokens(model)
    width = max(len(tail) for tail in tails)
    ids = torch.tensor([[0] * (width - len(tail)) + list(tail) for tail in tails], device=model.device)
    mask = torch.tensor([[0] * (width - len(tail)) + [1] * len(tail) for tail in tails], device=model.device)
    shared = opening[0][0].shape[-2]
    whole = torch.cat([mask.new_ones(len(tails), shared), mask], dim=1)
    positions = (shared + mask.cumsum(1) - 1).clamp(min=0)
    cache = model.start(opening, len(tails))
    replies: list[list[int]] = [[] for _ in tails]
    running = [True] * len(tails)
    logs, likely = [], []
    for _ in range(tokens):
        logits = model.run(
            input_ids=ids,
            attention_mask=whole,
            position_ids=positions,
            cache=cache,
            use_cache=True,
            logits_to_keep=1,
        )[:, -1]
        best = logits.log_softmax(-1).topk(top)
        logs.append(best.values)
        likely.append(best.indices)
        ids = pick(logits)
        whole = torch.cat([whole, mask.new_ones(len(tails), 1)], dim=1)
        positions = positions[:, -1:] + 1
        for row, token in enumerate(ids[:, 0].tolist()):
            if running[row]:
                replies[row].append(token)
                running[row] = token not in ends
        if not any(running):
            break
    top_logs, top_ids = torch.stack(logs, dim=1).cpu(), torch.stack(likely, dim=1).cpu()
    return [
        Reply(tuple(reply), top_ids[row, : len(reply)].clone(), top_logs[row, : len(reply)].clone())
        for row, reply in enumerate(replies)
    ]
