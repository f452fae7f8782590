"""What a probe is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from patchpm.data.source import Record
from patchpm.evaluate.likelihood import Ids, log_probabilities
from patchpm.train.prefix_model import Opening, PrefixModel
from patchpm.train.replies import Progress
from patchpm.train.scorer import Scorer

CONTINUE = "Continue this text:\n\n"
"""How a user asks for the rest of a text."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What a probe found: figures for every item, and texts where some were written."""

    columns: dict[str, tuple[float, ...]]
    """One figure an item; all columns are of one length."""
    replies: tuple[tuple[int, ...], ...] = ()
    """Token ids of what the model wrote to each item."""
    texts: tuple[str, ...] = ()
    """The same for people; of several samples the worst."""

    @property
    def items(self) -> int:
        """How many there are."""
        return len(next(iter(self.columns.values())))


@dataclass(frozen=True)
class Reader:
    """A model with or without a prefix, put to the rows of one part."""

    model: PrefixModel
    prefix: Tensor | None
    records: Sequence[Record]
    own: Callable[[], Readings]
    """The base model's own replies to these rows."""
    judge: Callable[[], Scorer]
    progress: Progress

    @cached_property
    def opening(self) -> Opening:
        """The prefix, read."""
        with torch.no_grad():
            return self.model.opening(self.prefix)

    @property
    def prompts(self) -> list[str]:
        """The user's turns."""
        return [record.prompt for record in self.records]

    def likelihoods(self, replies: Sequence[Sequence[Ids]], prompts: Sequence[str] | None = None) -> list[list[Tensor]]:
        """Log-probability of each token of each reply to each prompt; see `log_probabilities`."""
        asked = self.prompts if prompts is None else prompts
        return log_probabilities(self.model, self.opening, asked, replies, self.progress)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a reply."""
        return self.model.frame.encode(text)


Probe = Callable[[Reader], Readings]
"""Reads one kind of figure."""
