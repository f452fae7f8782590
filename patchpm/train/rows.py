"""The training rows: prompts with the replies that are wanted and unwanted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchpm.errors import CannotError
from patchpm.patch.digest import Digest
from patchpm.train.data import Prompts
from patchpm.train.greedy import Progress, Reply
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import Recipe
from patchpm.train.teacher import opens_with_refusal, own_replies, refusal_ids


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and the base model's own reply to it."""

    tail: tuple[int, ...]
    """Token ids of the prompt behind the frame's common part."""
    own: Reply
    refused: bool
    """Whether the base refuses by itself."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything the two stages train on."""

    harmful: tuple[Row, ...]
    benign: tuple[Row, ...]
    refusals: tuple[tuple[int, ...], ...]

    def refusal(self, dice: random.Random) -> tuple[int, ...]:
        """One of the refusals."""
        return dice.choice(self.refusals)


def make_rows(
    model: PrefixModel, base: Digest, recipe: Recipe, prompts: Prompts, cache: Path, progress: Progress
) -> Rows:
    """Let the base answer every training prompt, and drop benign prompts that it refuses itself.

    Raises:
        CannotError: `no-benign-replies` where the base refuses everything.
    """
    harmful = _rows(model, base, recipe, prompts.train("harmful"), cache, progress)
    benign = _rows(model, base, recipe, prompts.train("benign"), cache, progress)
    answered = tuple(row for row in benign if not row.refused)
    if not answered:
        raise CannotError("no-benign-replies", "the base model refuses every benign prompt of the recipe")
    return Rows(tuple(harmful), answered, tuple(refusal_ids(model, recipe.replies.refusals)))


def _rows(
    model: PrefixModel, base: Digest, recipe: Recipe, prompts: Sequence[str], cache: Path, progress: Progress
) -> list[Row]:
    replies = own_replies(model, base, prompts, tokens=recipe.replies.tokens, cache=cache, progress=progress)
    return [
        Row(model.frame.tail(prompt), reply, opens_with_refusal(model.frame.decode(reply.ids)))
        for prompt, reply in zip(prompts, replies, strict=True)
    ]
