"""How likely given replies are. Each distinct prompt is read once, however many replies are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from patchpm.train.prefix_model import Opening, PrefixModel
from patchpm.train.replies import Progress

BATCH = 64
"""Prompts, and then replies, that are read together."""
Ids = Sequence[int]
"""Token ids of a text."""


def log_probabilities(
    model: PrefixModel,
    opening: Opening,
    prompts: Sequence[str],
    replies: Sequence[Sequence[Ids]],
    progress: Progress,
) -> list[list[Tensor]]:
    """Log-probabilities of replies, token by token.

    Args:
        model: The base.
        opening: Of the prefix.
        prompts: User turns.
        replies: For each prompt one or more replies of at least one token.
        progress: Told of replies read.

    Returns:
        For each prompt and each of its replies a tensor `(tokens,)` of nats.
    """
    found: list[list[Tensor]] = [[torch.empty(0)] * len(options) for options in replies]
    asking: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for number, prompt in enumerate(prompts):
        places = asking.setdefault(model.frame.tail(prompt), [])
        places += [(number, option) for option in range(len(replies[number]))]
    tails = sorted(asking, key=lambda tail: (len(tail), tail))
    done, whole = 0, sum(map(len, replies))
    with torch.no_grad():
        for start in range(0, len(tails), BATCH):
            batch = tails[start : start + BATCH]
            read = _Prompts(model, opening, batch)
            rows = [(row, place) for row, tail in enumerate(batch) for place in asking[tail]]
            rows.sort(key=lambda pair: len(replies[pair[1][0]][pair[1][1]]))
            for first in range(0, len(rows), BATCH):
                chosen = rows[first : first + BATCH]
                wanted = [replies[number][option] for _, (number, option) in chosen]
                logs = read.replies([row for row, _ in chosen], wanted)
                for (_, (number, option)), one in zip(chosen, logs, strict=True):
                    found[number][option] = one
                done += len(chosen)
                progress(done, whole)
    return found


class _Prompts:
    """A batch of prompts that was read, left-padded."""

    def __init__(self, model: PrefixModel, opening: Opening, tails: Sequence[Ids]) -> None:
        self._model = model
        width = max(len(tail) for tail in tails)
        ids = torch.tensor([[0] * (width - len(tail)) + list(tail) for tail in tails], device=model.device)
        mask = torch.tensor([[0] * (width - len(tail)) + [1] * len(tail) for tail in tails], device=model.device)
        shared = opening[0][0].shape[-2]
        self._mask = torch.cat([mask.new_ones(len(tails), shared), mask], dim=1)
        cache = model.start(opening, len(tails))
        logits = model.run(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=(shared + mask.cumsum(1) - 1).clamp(min=0),
            cache=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._next = logits[:, -1].log_softmax(-1)
        self._read: Opening = [(layer.keys, layer.values) for layer in cast("Any", cache).layers]

    def replies(self, rows: list[int], replies: Sequence[Ids]) -> list[Tensor]:
        """Log-probabilities of one reply to each of some rows."""
        chosen = torch.tensor(rows, device=self._model.device)
        firsts = torch.tensor([reply[0] for reply in replies], device=self._model.device)
        logs = self._next[chosen].gather(-1, firsts[:, None])
        length = max(len(reply) for reply in replies)
        if length > 1:
            logs = torch.cat([logs, self._rest(chosen, replies, length)], dim=1)
        return [one[: len(reply)].cpu() for one, reply in zip(logs, replies, strict=True)]

    def _rest(self, rows: Tensor, replies: Sequence[Ids], length: int) -> Tensor:
        """Log-probabilities of all tokens but the first, `(replies, length - 1)`; nonsense behind a reply's end."""
        ids = torch.tensor([[*reply, *[0] * (length - len(reply))] for reply in replies], device=rows.device)
        before = self._mask[rows]
        # What stands behind a reply's end is masked by causality: nothing that counts comes after it.
        mask = torch.cat([before, before.new_ones(len(replies), length - 1)], dim=1)
        cache = self._model.start([(keys[rows], values[rows]) for keys, values in self._read], len(replies))
        logits = self._model.run(
            input_ids=ids[:, :-1],
            attention_mask=mask,
            position_ids=before.sum(1, keepdim=True) + torch.arange(length - 1, device=rows.device),
            cache=cache,
            use_cache=True,
        )
        asked = logits.gather(-1, ids[:, 1:, None]).squeeze(-1)
        return asked - logits.logsumexp(-1)
