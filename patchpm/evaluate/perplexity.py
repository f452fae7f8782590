"""Perplexity of plain text, read where the patch stands: as the reply in a conversation.

The user asks to continue a passage and gives its opening; the rest of the passage is the reply whose likelihood is
measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchpm.evaluate.interval import bootstrap_perplexity
from patchpm.train.greedy import Progress
from patchpm.train.prefix_model import PrefixModel

_REQUEST = "Continue this text:\n\n"
_OPENING = 100
"""Least length of what the user gives, in characters."""
_PASSAGE = 600
"""Least length of a passage, in characters."""
_BATCH = 4


@dataclass(frozen=True, slots=True)
class Perplexity:
    """What was measured on some passages."""

    losses: tuple[float, ...]
    """Negative log-likelihood of each passage, in nats."""
    tokens: tuple[int, ...]
    """Tokens of each passage."""

    @property
    def value(self) -> float:
        """The perplexity, over all tokens."""
        return math.exp(sum(self.losses) / sum(self.tokens))

    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return bootstrap_perplexity(self.losses, self.tokens)


def passages(sentences: Sequence[str]) -> list[tuple[str, str]]:
    """Join sentences, in order, into passages of an opening and a continuation."""
    found = []
    opening, rest = "", ""
    for sentence in sentences:
        if len(opening) < _OPENING:
            opening = f"{opening} {sentence}".strip()
            continue
        rest = f"{rest} {sentence}".strip()
        if len(opening) + len(rest) >= _PASSAGE:
            found.append((opening, rest))
            opening, rest = "", ""
    return found


def perplexity(
    model: PrefixModel, prefix: Tensor | None, texts: Sequence[tuple[str, str]], progress: Progress
) -> Perplexity:
    """Measure.

    Args:
        model: The base.
        prefix: `(tokens, hidden_size)` float32, or None for the base alone.
        texts: Opening and continuation of each passage.
        progress: Told after every batch.
    """
    losses: list[float] = []
    tokens: list[int] = []
    with torch.no_grad():
        opening = model.opening(prefix)
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            replies = [model.frame.encode(rest) for _, rest in batch]
            reading = model.read(opening, [model.frame.tail(_REQUEST + first) for first, _ in batch], replies)
            losses += (-reading.log_probabilities().sum(1)).tolist()
            tokens += [len(reply) for reply in replies]
            progress(min(start + _BATCH, len(texts)), len(texts))
    return Perplexity(tuple(losses), tuple(tokens))
