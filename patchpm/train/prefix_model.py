"""A frozen causal language model read with a prefix at its anchor.

The tokens up to and including the prefix and the system text are the same for every row of a batch. They are run once,
with batch 1, and their keys and values are expanded to the batch; gradients flow through. That saves (batch - 1) x
(head + prefix + common) tokens a pass, and gives the same numbers as running everything.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from patchpm.model.causal_lm import embedding_of
from patchpm.train.framing import Frame

_HIDDEN = torch.finfo(torch.float32).min
Opening = list[tuple[Tensor, Tensor]]
"""Keys and values, `(1, heads, tokens, head_size)` each, a pair a layer."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model thinks of some replies.

    Attributes:
        logits: `(batch, tokens, vocabulary)` float32, at the positions that predict the reply's tokens.
        labels: `(batch, tokens)` int64, the reply's tokens; 0 where there is none.
        mask: `(batch, tokens)` bool, where there is a reply token.
    """

    logits: Tensor
    labels: Tensor
    mask: Tensor

    def log_probabilities(self) -> Tensor:
        """Log-probability of each reply token, `(batch, tokens)`; 0 where there is none."""
        chosen = self.logits.gather(-1, self.labels.unsqueeze(-1)).squeeze(-1)
        return (chosen - self.logits.logsumexp(-1)) * self.mask


class PrefixModel:
    """One base model with its frame; the prefix is handed in, so that the same model serves with and without."""

    def __init__(self, model: nn.Module, frame: Frame, *, half: bool = False) -> None:
        """Freeze a model.

        Args:
            model: A causal language model.
            frame: Of its chat template.
            half: Multiply in bfloat16; its linear layers hold bfloat16 already.
        """
        self.model = model.eval().requires_grad_(False)
        self.frame = frame
        self.half = half
        self.tokens_read = 0
        """Tokens that went through the model so far, padding included."""
        self._embed = embedding_of(model)
        # From transformers 5.24 on it is `cache`.
        takes = inspect.signature(model.forward).parameters
        self._cache_name = "cache" if "cache" in takes else "past_key_values"
        self.device: torch.device = cast("Any", self._embed).weight.device

    @property
    def hidden_size(self) -> int:
        """Width of the embedding, hence of a prefix."""
        return int(cast("Any", self._embed).weight.shape[1])

    def embed_text(self, text: str) -> Tensor:
        """Embeddings of a text, `(tokens, hidden_size)`: what a prefix starts from."""
        return self._vectors(self.frame.encode(text)).clone()

    def read(self, opening: Opening, tails: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]) -> Reading:
        """Logits of given replies.

        Args:
            opening: What `opening` returned for the prefix.
            tails: Token ids of each prompt behind the common part.
            replies: Token ids of each reply.
        """
        width = max(len(tail) for tail in tails)
        length = max(len(reply) for reply in replies)
        ids = torch.zeros(len(tails), width + length, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, (tail, reply) in enumerate(zip(tails, replies, strict=True)):
            ids[row, width - len(tail) : width + len(reply)] = torch.tensor([*tail, *reply])
            mask[row, width - len(tail) : width + len(reply)] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        # The last token of a reply predicts nothing that is asked for.
        logits = self._forward(opening, ids[:, :-1], mask[:, :-1], keep=length)
        return Reading(logits, ids[:, width:], mask[:, width:].bool())

    def read_pairs(
        self,
        opening: Opening,
        tails: Sequence[Sequence[int]],
        firsts: Sequence[Sequence[int]],
        seconds: Sequence[Sequence[int]],
    ) -> tuple[Reading, Reading]:
        """Logits of two given replies to each prompt; the prompt is run once.

        Both replies stand behind the prompt at the same positions, and a mask hides each from the other.

        Args:
            opening: What `opening` returned for the prefix.
            tails: Token ids of each prompt behind the common part.
            firsts: Token ids of one reply to each.
            seconds: Of the other one.
        """
        width, one, two = (max(len(row) for row in rows) for rows in (tails, firsts, seconds))
        ids = torch.zeros(len(tails), width + one + two, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, (tail, first, second) in enumerate(zip(tails, firsts, seconds, strict=True)):
            for start, tokens in ((width - len(tail), tail), (width, first), (width + one, second)):
                ids[row, start : start + len(tokens)] = torch.tensor(list(tokens), dtype=torch.long)
                mask[row, start : start + len(tokens)] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        # The last token of a reply predicts nothing that is asked for.
        run = torch.tensor([*range(width + one - 1), *range(width + one, width + one + two - 1)], device=self.device)
        column = torch.arange(len(run), device=self.device)
        begin = width + one - 1
        apart = (column[:, None] >= begin) & (column[None, :] >= width) & (column[None, :] < begin)
        seen = (column[:, None] >= column[None, :]) & ~apart & mask[:, None, run].bool()
        shared = opening[0][0].shape[-2]
        visible = torch.cat([seen.new_ones(len(ids), len(run), shared), seen], dim=2).unsqueeze(1)
        places = mask[:, :width].cumsum(1) - 1
        after = places[:, -1:] + 1
        positions = torch.cat([places, after + column[: one - 1], after + column[: two - 1]], dim=1)
        logits = self.run(
            input_ids=ids[:, run],
            attention_mask=torch.zeros(visible.shape, device=self.device).masked_fill(~visible, _HIDDEN),
            position_ids=(shared + positions).clamp(min=0),
            cache=self.start(opening, len(ids)),
            use_cache=True,
            logits_to_keep=one + two - 1,
        )
        of_second = torch.cat([logits[:, :1], logits[:, one:]], dim=1)
        whole = mask.bool()
        return (
            Reading(logits[:, :one], ids[:, width : width + one], whole[:, width : width + one]),
            Reading(of_second, ids[:, width + one :], whole[:, width + one :]),
        )

    def opening(self, prefix: Tensor | None) -> Opening:
        """Run everything that all prompts share.

        Args:
            prefix: `(tokens, hidden_size)` float32, or None for the base model alone.
        """
        from transformers import DynamicCache

        head, common = self._vectors(self.frame.head), self._vectors(self.frame.common)
        parts = [head, common] if prefix is None else [head, prefix.to(self.device), common]
        cache = DynamicCache()
        vectors = torch.cat(parts).unsqueeze(0)
        self.run(inputs_embeds=vectors, cache=cache, use_cache=True, logits_to_keep=1)
        return [(layer.keys, layer.values) for layer in cast("Any", cache).layers]

    def start(self, opening: Opening, batch: int) -> Any:
        """A fresh `DynamicCache` with the opening in it, for `batch` rows."""
        from transformers import DynamicCache

        return DynamicCache(
            [(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1)) for keys, values in opening]
        )

    def run(self, *, cache: Any = None, **inputs: Any) -> Tensor:
        """Call the model in its precision; return float32 logits."""
        given = inputs["input_ids"] if "input_ids" in inputs else inputs["inputs_embeds"]
        self.tokens_read += given.shape[0] * given.shape[1]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits = cast("Any", self.model)(**inputs, **{self._cache_name: cache}).logits
        return cast("Tensor", logits.float())

    def _forward(self, opening: Opening, ids: Tensor, mask: Tensor, *, keep: int) -> Tensor:
        shared = opening[0][0].shape[-2]
        whole = torch.cat([mask.new_ones(len(ids), shared), mask], dim=1)
        return self.run(
            input_ids=ids,
            attention_mask=whole,
            position_ids=(shared + mask.cumsum(1) - 1).clamp(min=0),
            cache=self.start(opening, len(ids)),
            use_cache=True,
            logits_to_keep=keep,
        )

    def _vectors(self, ids: Sequence[int]) -> Tensor:
        with torch.no_grad():
            return cast("Tensor", self._embed(torch.tensor(list(ids), dtype=torch.long, device=self.device)))
