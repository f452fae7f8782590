"""The proof by numbers: logits over prefix tokens are those over the patches' rows as explicit embeddings.

Soft prefixes have often stopped working without a word after a library update. So the patched model is run once at
every apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from patchpm.errors import IntegrityError
from patchpm.model.start_guard import StartGuard
from patchpm.model.virtual_vocabulary import VirtualVocabulary

_TOLERANCE = 1e-3
"""Of the largest logit. Both ways run the same kernels on the same shapes, so they mostly agree to the bit."""
_CLOSED = -1e4
"""A logit below it is never sampled; the least float16 is -65,504."""


def largest_difference(
    model: nn.Module, vocabulary: VirtualVocabulary, guard: StartGuard, *, ids: tuple[int, ...]
) -> float:
    """Run a probe by token ids and by explicit embeddings.

    Args:
        model: The patched model.
        vocabulary: What was put on it.
        guard: Let the embeddings pass.
        ids: A probe with the run in it.

    Returns:
        The largest absolute difference between the logits.

    Raises:
        IntegrityError: `patch-ineffective` where they differ, or a prefix token could be sampled.
    """
    first, end = vocabulary.first, vocabulary.end
    tokens = torch.tensor([ids], device=vocabulary.rows().device)
    virtual = (tokens >= first) & (tokens < end)
    with torch.no_grad(), _evaluating(model), guard.suspended():
        embeds = vocabulary.base_embed(tokens.masked_fill(virtual, 0)).clone()
        embeds[virtual] = vocabulary.rows()[tokens[virtual] - first].to(embeds)
        mask = torch.ones_like(tokens)
        by_ids = _logits(model, input_ids=tokens, attention_mask=mask)
        by_embeds = _logits(model, inputs_embeds=embeds, attention_mask=mask)
    real = torch.ones(by_ids.shape[-1], dtype=torch.bool, device=by_ids.device)
    real[first:end] = False
    difference = float((by_ids[..., real] - by_embeds[..., real]).abs().max())
    if not difference <= _TOLERANCE * max(1.0, float(by_embeds[..., real].abs().max())):
        raise _ineffective(
            f"logits differ by {difference:.3g} from those over the patches' rows as explicit embeddings"
        )
    if float(by_ids[..., first:end].max()) > _CLOSED:
        raise _ineffective("the logits of prefix tokens are not closed, so the model could sample them")
    return difference


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """No dropout meanwhile."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _logits(model: nn.Module, **inputs: Any) -> torch.Tensor:
    logits: torch.Tensor = model(**inputs, use_cache=False, return_dict=True).logits
    return logits.float()


def _ineffective(why: str) -> IntegrityError:
    return IntegrityError(
        "patch-ineffective",
        "the patches do not reach the model as they should",
        why=why,
        next="this architecture is not supported yet; report it with the versions of torch and transformers",
    )
