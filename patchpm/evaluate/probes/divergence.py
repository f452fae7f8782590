"""How far a patched model has moved from its base, on what the base itself would say."""

from __future__ import annotations

import torch

from patchpm.evaluate.probes.reading import Reader, Readings

_TOKENS = 16
"""How much of the base's own reply counts."""
_BATCH = 16
"""Logits of the whole vocabulary for both models are in memory at once."""


def divergence(reader: Reader) -> Readings:
    """KL(base || patched) a token, over the whole vocabulary; 0 for the base itself."""
    if reader.prefix is None:
        return Readings({"kl": (0.0,) * len(reader.records)})
    model = reader.model
    tails = [model.frame.tail(prompt) for prompt in reader.prompts]
    own = [ids[:_TOKENS] for ids in reader.own().replies]
    order = sorted(range(len(tails)), key=lambda number: len(tails[number]))
    found = [0.0] * len(tails)
    with torch.no_grad():
        bare = model.opening(None)
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            batch = [tails[number] for number in chosen], [own[number] for number in chosen]
            base = model.read(bare, *batch)
            patched = model.read(reader.opening, *batch).logits.log_softmax(-1)
            logs = base.logits.log_softmax(-1)
            apart = (logs.exp() * (logs - patched)).sum(-1) * base.mask
            for number, kl in zip(chosen, (apart.sum(1) / base.mask.sum(1)).tolist(), strict=True):
                found[number] = max(0.0, kl)
            reader.progress(start + len(chosen), len(order))
    return Readings({"kl": tuple(found)})
