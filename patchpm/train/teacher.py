"""Who says what is wanted: the teacher's replies to target prompts; and the base's own replies, computed once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from patchpm.atomic_write import write_atomic
from patchpm.errors import UsageError
from patchpm.patch.digest import Digest
from patchpm.train.base_model import load_model, weights_digest
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import BEST, INSTRUCTION, MASKED, MODEL, Recipe
from patchpm.train.replies import Progress, Reply, end_tokens, greedy_replies, sampled_replies

TOP = 64
"""Of how many tokens the base's probability is kept at each place of a reply."""
_PIECE = re.compile(r"\S+\s*|\s+")
"""A word with the space behind it."""
_FORM = "patchpm-own-replies-v2"


@dataclass(frozen=True, slots=True)
class Taught:
    """What the teacher has for one prompt."""

    wanted: tuple[tuple[int, ...], ...]
    """Replies, any of which will do."""
    loser: tuple[int, ...]
    """A reply that is not wanted; empty where none is needed."""
    taught: Reply | None = None
    """The reply with the teacher's distribution, where it has one."""


class Teacher:
    """The teacher of a recipe."""

    def __init__(self, model: PrefixModel, base: Digest, recipe: Recipe, cache: Path, progress: Progress) -> None:
        """Take what it works with.

        Args:
            model: The base model.
            base: Identity of its weights, for the cache.
            recipe: Says which teacher.
            cache: Folder of the user's cache.
            progress: Told of replies as they are made.
        """
        self._model = model
        self._base = base
        self._recipe = recipe
        self._cache = cache
        self._progress = progress

    def wanted(self, prompts: Sequence[str]) -> list[Taught | None]:
        """The teacher's replies; None for a prompt that it has no usable reply to.

        Raises:
            UsageError: `base-not-found`, or `tokenizer-mismatch` for a teacher with another tokenizer.
        """
        kind = self._recipe.teacher.kind
        if kind == BEST:
            return self._best_of(prompts)
        replies: Sequence[Reply | None] = [None] * len(prompts)
        if kind == INSTRUCTION:
            replies = self._instructed(prompts)
        elif kind == MASKED:
            replies = self._masked(prompts)
        elif kind == MODEL:
            replies = self._other_model(prompts)
        given = tuple(reply_ids(self._model, self._recipe.teacher.replies))
        wanted = [given if reply is None else (reply.ids,) for reply in replies]
        losers: Sequence[tuple[int, ...]] = [()] * len(prompts)
        if self._recipe.dpo.steps:
            losers = [reply.ids for reply in self._own(self._model, self._base, prompts)]
        return [Taught(*taught) for taught in zip(wanted, losers, replies, strict=True)]

    def _instructed(self, prompts: Sequence[str]) -> list[Reply]:
        """The base under the instruction, which stands where the prefix will stand.

        Source: context distillation, arXiv 2112.00861.
        """
        text = self._model.embed_text(self._recipe.teacher.instruction)
        return greedy_replies(self._model, text, prompts, tokens=self._recipe.teacher.tokens, progress=self._progress)

    def _masked(self, prompts: Sequence[str]) -> list[Reply]:
        """The base as if the bad words had not been said."""
        from patchpm.train.scorer import load_scorer

        teacher = self._recipe.teacher
        scorer = load_scorer(teacher.scorer)

        def masked(prompt: str) -> str:
            pieces = _PIECE.findall(prompt)
            scores = scorer.score([piece.strip() for piece in pieces])
            return "".join(piece for piece, score in zip(pieces, scores, strict=True) if score < teacher.limit)

        return self._own(self._model, self._base, [masked(prompt) for prompt in prompts])

    def _other_model(self, prompts: Sequence[str]) -> list[Reply]:
        folder = self._recipe.folder / self._recipe.teacher.model
        other = load_model(folder, precision=self._recipe.precision)
        probe = "The same words, the same tokens: 42 é"
        if other.frame.encode(probe) != self._model.frame.encode(probe):
            raise UsageError(
                "tokenizer-mismatch",
                "the teacher has another tokenizer than the base model",
                why=f"{folder} cuts the same text into other tokens",
                next=f"choose a teacher of the same family, or teacher.kind {INSTRUCTION} or {BEST}",
            )
        return self._own(other, weights_digest(folder), prompts)

    def _best_of(self, prompts: Sequence[str]) -> list[Taught | None]:
        """The best and the worst of some samples, where they are good, bad and far apart enough.

        Source: arXiv 2511.08484, the pair filter.
        """
        teacher = self._recipe.teacher
        from patchpm.train.scorer import load_scorer

        scorer = load_scorer(teacher.scorer)
        text = self._model.embed_text(teacher.instruction) if teacher.instruction else None
        drawn = sampled_replies(
            self._model,
            text,
            prompts,
            tokens=teacher.tokens,
            samples=teacher.samples,
            seed=self._recipe.seed,
            progress=self._progress,
        )
        found: list[Taught | None] = []
        for replies in drawn:
            scores = scorer.score([self._model.frame.decode(reply.ids) for reply in replies])
            best, worst = (
                min(range(len(scores)), key=scores.__getitem__),
                max(range(len(scores)), key=scores.__getitem__),
            )
            usable = scores[best] < teacher.limit and scores[worst] - scores[best] >= teacher.margin
            found.append(Taught((replies[best].ids,), replies[worst].ids) if usable else None)
        return found

    def _own(self, model: PrefixModel, base: Digest, prompts: Sequence[str]) -> list[Reply]:
        tokens = self._recipe.teacher.tokens
        return own_replies(model, base, prompts, tokens=tokens, cache=self._cache, progress=self._progress)


def reply_ids(model: PrefixModel, replies: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of written replies, with the end of the turn."""
    ends = end_tokens(model)
    after = [token for token in model.frame.after_reply() if token in ends]
    end = after[:1] or sorted(ends)[:1]
    return [(*model.frame.encode(text), *end) for text in replies]


def own_replies(
    model: PrefixModel, base: Digest, prompts: Sequence[str], *, tokens: int, cache: Path, progress: Progress
) -> list[Reply]:
    """A model's own greedy replies, with the likely tokens at each place.

    Args:
        model: The base.
        base: Identity of its weights, for the cache.
        prompts: User turns.
        tokens: Longest reply.
        cache: Folder of the user's cache.
        progress: Told after every batch, if something is to be computed.
    """
    question = [_FORM, base.hex, model.half, tokens, TOP, model.frame.head, model.frame.common, list(prompts)]
    key = hashlib.sha256(json.dumps(question).encode()).hexdigest()
    path = cache / "replies" / f"{key}.safetensors"
    found = _read(path)
    if found is None:
        replies = greedy_replies(model, None, prompts, tokens=tokens, progress=progress, top=TOP)
        write_atomic(path, _pack(replies))
        return replies
    return found


def _pack(replies: list[Reply]) -> bytes:
    tensors = {
        "lengths": torch.tensor([len(reply.ids) for reply in replies]),
        "ids": torch.tensor([token for reply in replies for token in reply.ids]),
        "top_ids": torch.cat([reply.top_ids for reply in replies]),
        "top_logs": torch.cat([reply.top_logs for reply in replies]),
    }
    return bytes(save(tensors))


def _read(path: Path) -> list[Reply] | None:
    """The cached replies, or None where there are none that can be read: a cache may be thrown away at any time."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {
                name: file.get_tensor(name) for name in ("lengths", "ids", "top_ids", "top_logs")
            }
    except SafetensorError:
        return None
    lengths = tensors["lengths"].tolist()
    parts = [torch.split(tensors[name], lengths) for name in ("ids", "top_ids", "top_logs")]
    return [Reply(tuple(ids.tolist()), top_ids, top_logs) for ids, top_ids, top_logs in zip(*parts, strict=True)]
