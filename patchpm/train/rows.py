"""The training rows: prompts with the replies that are wanted, unwanted, or to be kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from patchpm.data.source import Record
from patchpm.errors import CannotError
from patchpm.patch.digest import Digest
from patchpm.train.data import SplitSource, TrainingData
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import GIVEN, KEEP, OTHERS, PAIR, TARGET, Recipe
from patchpm.train.replies import Progress, Reply
from patchpm.train.teacher import Teacher, own_replies, reply_ids


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A prompt that is the patch's business."""

    tail: tuple[int, ...]
    """Token ids of the prompt behind the frame's common part."""
    wanted: tuple[tuple[int, ...], ...]
    """Replies of the teacher, any of which will do."""
    loser: tuple[int, ...]
    """A reply that is not wanted; empty where none is needed."""
    taught: Reply | None = None
    """The teacher's reply with its distribution, for teachers that have one."""
    together: str = ""
    """For the goal `balance`: the source whose pairs shall be even taken together; empty for a pair that shall be even
    by itself."""

    def view(self, dice: random.Random) -> tuple[int, ...]:
        """One of the wanted replies."""
        return dice.choice(self.wanted)


@dataclass(frozen=True, slots=True)
class KeepRow:
    """A prompt to which the base's reply shall stay as it is."""

    tail: tuple[int, ...]
    own: Reply
    reversible: bool = True
    """Whether a wanted reply of the target prompts would be wrong here."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one part of the split."""

    targets: tuple[TargetRow, ...]
    pairs: tuple[TargetRow, ...]
    """Rows of sources that bring both replies: one wanted, one not."""
    keeps: tuple[KeepRow, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything the stages train on, and what steps are compared by."""

    train: Part
    dev: Part
    reverse: tuple[tuple[int, ...], ...]
    """Replies that must not be given to prompts to keep."""


def make_rows(
    model: PrefixModel, base: Digest, recipe: Recipe, data: TrainingData, cache: Path, progress: Progress
) -> Rows:
    """Let teacher and base answer every prompt.

    Raises:
        CannotError: `nothing-to-learn` where the teacher has a usable reply to too few target prompts.
    """
    teacher = Teacher(model, base, recipe, cache, progress)

    def part(rows: Callable[[SplitSource], Sequence[Record]]) -> Part:
        return Part(
            targets=tuple(row for split in data.of_kind(TARGET) for row in _targets(model, teacher, rows(split))),
            pairs=tuple(_pair(model, record, split) for split in data.of_kind(PAIR) for record in rows(split)),
            keeps=tuple(
                replace(row, reversible=kind == KEEP)
                for kind in (KEEP, OTHERS)
                for split in data.of_kind(kind)
                for row in _keeps(model, base, recipe, rows(split), cache, progress)
            ),
        )

    made = Rows(
        part(lambda split: split.train),
        part(lambda split: split.dev),
        tuple(reply_ids(model, recipe.teacher.replies)) if recipe.teacher.kind == GIVEN else (),
    )
    for rows in (made.train, made.dev) if recipe.stop.every else (made.train,):
        if not rows.targets and (recipe.sft.steps or not rows.pairs):
            raise CannotError(
                "nothing-to-learn",
                "the teacher has no usable reply to any target prompt",
                why=f"no {'dev' if rows is made.dev else 'training'} prompt passed the filter",
                next="raise teacher.limit, lower teacher.margin, or take more samples",
            )
    return made


def _targets(model: PrefixModel, teacher: Teacher, records: Sequence[Record]) -> list[TargetRow]:
    if not records:
        return []
    wanted = teacher.wanted([record.prompt for record in records])
    return [
        TargetRow(model.frame.tail(record.prompt), found.wanted, found.loser, found.taught)
        for record, found in zip(records, wanted, strict=True)
        if found is not None
    ]


def _pair(model: PrefixModel, record: Record, split: SplitSource) -> TargetRow:
    better, worse = (model.frame.encode(text) for text in record.texts)
    together = "" if split.use.each else split.name
    return TargetRow(model.frame.tail(record.prompt), (better,), worse, together=together)


def _keeps(
    model: PrefixModel, base: Digest, recipe: Recipe, records: Sequence[Record], cache: Path, progress: Progress
) -> list[KeepRow]:
    if not records:
        return []
    prompts = [record.prompt for record in records]
    replies = own_replies(model, base, prompts, tokens=recipe.teacher.tokens, cache=cache, progress=progress)
    return [KeepRow(model.frame.tail(prompt), reply) for prompt, reply in zip(prompts, replies, strict=True)]
