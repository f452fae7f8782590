"""What a base model answers under a patch set, computed here: the truth that servers are compared with.

Each set, the right one and the wrong ones, goes the same way as in an export: its own tokens in a copy of the
tokenizer, its own proven chat template, its rows in place of the embeddings of those tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from patchpm.errors import CannotError
from patchpm.export.placed_set import PlacedSet, place_set
from patchpm.guard.distribution import TOP, Distribution
from patchpm.model.causal_lm import Tokenizer, embedding_of, encode
from patchpm.model.conversation import Conversation, Message
from patchpm.model.loaded import PatchSet

_BATCH = 8
"""Prompts at a time."""


class ProbedModel:
    """A base model that is asked the same conversations under many patch sets. It is not changed.

    Args:
        model: A causal language model without patches on it.
        tokenizer: Its own; not changed.
        conversations: What is asked, each ending in a user message.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, conversations: Sequence[Sequence[Message]]) -> None:
        self._model, self._tokenizer = cast("Any", model), tokenizer
        self._conversations = [Conversation(tuple(one)) for one in conversations]

    @torch.no_grad()
    def first_tokens(self, patches: PatchSet | None) -> list[Distribution]:
        """The likeliest first tokens of each answer under one set, or under none."""
        tokenizer, placed = self._placed(patches)
        best = torch.log_softmax(self._last_logits(self._prompts(tokenizer), placed), dim=-1).topk(2 * TOP)
        decode = cast("Any", tokenizer).decode
        return [
            Distribution.of((decode([token]), value) for token, value in zip(ids, values, strict=True))
            for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    @torch.no_grad()
    def texts(self, patches: PatchSet | None, new_tokens: int) -> list[str]:
        """The beginning of each greedy answer."""
        tokenizer, placed = self._placed(patches)
        texts = []
        for prompt in self._prompts(tokenizer):
            new = self._model.generate(
                inputs_embeds=self._embedded([prompt], placed),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=self._model.device),
                max_new_tokens=new_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
            )
            texts.append(cast("Any", tokenizer).decode(new[0].tolist(), skip_special_tokens=True))
        return texts

    def prompt_tokens(self, patches: PatchSet | None) -> list[int]:
        """Tokens of each prompt, prefix included."""
        return [len(prompt) for prompt in self._prompts(self._placed(patches)[0])]

    def _prompts(self, tokenizer: Tokenizer) -> list[tuple[int, ...]]:
        return [_encoded(tokenizer, one) for one in self._conversations]

    def _placed(self, patches: PatchSet | None) -> tuple[Tokenizer, PlacedSet | None]:
        tokenizer = copy.copy(self._tokenizer)  # place_set gives it a compiled tokenizer of its own
        if patches is None:
            return tokenizer, None
        return tokenizer, place_set(tokenizer, patches)

    def _last_logits(self, prompts: Sequence[tuple[int, ...]], placed: PlacedSet | None) -> torch.Tensor:
        """Logits behind each prompt, `(prompts, vocabulary)`, float32, on the CPU."""
        shared = _shared(prompts)
        begun = self._model(
            inputs_embeds=self._embedded([prompts[0][:shared]], placed), use_cache=True, logits_to_keep=1
        )
        found: list[torch.Tensor | None] = [None] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            for index, logits in zip(
                batch, self._goes_on([prompts[i][shared:] for i in batch], begun, placed), strict=True
            ):
                found[index] = logits
        return torch.stack(cast("list[torch.Tensor]", found))

    def _goes_on(self, rests: list[tuple[int, ...]], begun: Any, placed: PlacedSet | None) -> torch.Tensor:
        """Logits behind prompts that all go on from the same start; padded on the right, which no token before sees."""
        width = max(len(rest) for rest in rests)
        ends = torch.tensor([len(rest) - 1 for rest in rests])
        kept = torch.tensor(sorted(set(ends.tolist())))
        padded = [(*rest, *(rest[-1:] * (width - len(rest)))) for rest in rests]
        name = "cache" if "cache" in begun else "past_key_values"  # the new name since transformers 5.24
        cache = copy.deepcopy(begun[name])
        cache.batch_repeat_interleave(len(rests))
        logits = self._model(
            inputs_embeds=self._embedded(padded, placed), use_cache=True, logits_to_keep=kept, **{name: cache}
        ).logits
        return cast("torch.Tensor", logits)[torch.arange(len(rests)), torch.searchsorted(kept, ends)].float().cpu()

    def _embedded(self, prompts: Sequence[Sequence[int]], placed: PlacedSet | None) -> torch.Tensor:
        ids = torch.tensor([list(prompt) for prompt in prompts], device=self._model.device)
        embedding = embedding_of(self._model)
        if placed is None:
            return cast("torch.Tensor", embedding(ids))
        ours = (ids >= placed.first) & (ids < placed.end)
        vectors = cast("torch.Tensor", embedding(ids.masked_fill(ours, 0)))
        rows = placed.rows.to(vectors)
        # An embedding may scale what it looks up (Gemma); the rows of a patch stand behind that.
        return torch.where(ours[..., None], rows[(ids - placed.first).clamp(0, len(rows) - 1)], vectors)


def _encoded(tokenizer: Tokenizer, conversation: Conversation) -> tuple[int, ...]:
    text = conversation.render(tokenizer)
    if text is None:
        raise CannotError(
            "anchor-not-found",
            "the chat template of the base refuses a probe",
            why=str(conversation.messages[-1]["content"]),
        )
    return encode(tokenizer, text)


def _shared(prompts: Sequence[tuple[int, ...]]) -> int:
    """Length of what all prompts begin with, leaving at least one token of each."""
    least = min(len(prompt) for prompt in prompts) - 1
    return next((at for at in range(least) if len({prompt[at] for prompt in prompts}) > 1), least)
