"""Inputs whose cache holds the prefix already, so that a batch does not pay for it again.

Everything up to the end of the prefix is the same in every conversation, so its keys and values are computed once. In
an input of this kind it stands first and the padding behind it:

    ids    [opening][padding][rest of the conversation]
    mask      1         0                1
    cache  [opening]

`generate` cuts off as many ids as the cache holds, and counts positions by the mask, so every token has the position
that it has without padding.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from patchpm.errors import CannotError, UsageError
from patchpm.model.causal_lm import embedding_of
from patchpm.model.start_guard import StartGuard

_MOST = 16
"""Openings kept; a template with a date in it makes a new one every day."""


@dataclass(frozen=True, eq=False)
class Prefilled(Mapping[str, Any]):
    """What `generate` takes as `**inputs`. Each time it is unpacked it holds a new cache, so it can be used again."""

    input_ids: torch.Tensor
    """`(batch, tokens)`, int64."""
    attention_mask: torch.Tensor
    """`(batch, tokens)`, int64."""
    cache_name: str
    """What the model calls its cache: `cache` from transformers 5.24 on, before it `past_key_values`."""
    kept: Any
    """The cache of the opening for one row; never handed out."""
    rows: int
    """Sequences to generate: the batch, times beams or samples."""

    def __getitem__(self, name: str) -> Any:
        """One of the inputs, by the name of the parameter."""
        if name == self.cache_name:
            cache = copy.deepcopy(self.kept)
            if self.rows > 1:
                cache.batch_repeat_interleave(self.rows)
            return cache
        if name in ("input_ids", "attention_mask"):
            return getattr(self, name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(("input_ids", "attention_mask", self.cache_name))

    def __len__(self) -> int:
        return 3


class Openings:
    """The openings that one patched model has computed.

    Args:
        model: The patched model.
        guard: Its guard, which says where an opening ends, and marks the cache.
    """

    def __init__(self, model: nn.Module, guard: StartGuard) -> None:
        self._model, self._guard = model, guard
        self._kept: dict[tuple[int, ...], tuple[Hashable, Any]] = {}
        takes = inspect.signature(model.forward).parameters
        self._cache_name = "cache" if "cache" in takes else "past_key_values"

    def prefill(self, inputs: Mapping[str, Any], copies: int) -> Prefilled:
        """Put the opening of a batch into a cache.

        Args:
            inputs: `input_ids` and `attention_mask`, `(batch, tokens)`, as the tokenizer makes them.
            copies: Sequences that `generate` makes of each row.

        Raises:
            UsageError: `openings-differ`, `nothing-to-prefill`.
            IntegrityError: What the guard raises for a sequence that starts.
            CannotError: `cache-unsupported`.
        """
        ids = inputs["input_ids"]
        mask = inputs["attention_mask"] if "attention_mask" in inputs else torch.ones_like(ids)
        real = mask.bool()
        openings = {self._opening(row[held].tolist()) for row, held in zip(ids, real, strict=True)}
        if len(openings) != 1:
            raise UsageError(
                "openings-differ",
                "the conversations of this batch do not begin alike",
                why="what stands before the end of the prefix (a date, tools) differs between them",
                next="make one batch of those that begin alike, or call generate without prefilling",
            )
        (opening,) = openings
        size = len(opening)
        if int(real.sum(1).min()) <= size:
            raise UsageError("nothing-to-prefill", "a conversation ends with the prefix", next="add a message to it")
        laid = [
            torch.cat([row[held][:size], row[~held], row[held][size:]]) for row, held in zip(ids, real, strict=True)
        ]
        behind = [torch.cat([held[held][:size], held[~held], held[held][size:]]) for held in real]
        return Prefilled(
            torch.stack(laid),
            torch.stack(behind).to(mask.dtype),
            self._cache_name,
            self._cache(opening),
            len(ids) * copies,
        )

    def forget(self) -> None:
        """Let go of every cache."""
        self._kept.clear()

    def _opening(self, ids: list[int]) -> tuple[int, ...]:
        """The ids up to the end of the prefix."""
        run = self._guard.met(ids).run
        if not run:
            raise UsageError("nothing-to-prefill", "no patch is applied to this conversation", next="just generate")
        return tuple(ids[: ids.index(run[0]) + len(run)])

    def _cache(self, opening: tuple[int, ...]) -> Any:
        state = _state(self._model)
        known = self._kept.get(opening)
        if known is None or known[0] != state:
            if len(self._kept) >= _MOST:
                self._kept.pop(next(iter(self._kept)))
            known = self._kept[opening] = (state, self._computed(opening))
        return known[1]

    def _computed(self, opening: tuple[int, ...]) -> Any:
        weight = next(embedding_of(self._model).parameters())
        ids = torch.tensor([opening], device=weight.device)
        with torch.no_grad():
            output = self._model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True, return_dict=True)
        cache = output.get(self._cache_name)
        layers = getattr(cache, "layers", ())
        if not layers or not all(isinstance(getattr(layer, "keys", None), torch.Tensor) for layer in layers):
            raise CannotError(
                "cache-unsupported",
                f"the cache of {type(self._model).__name__} cannot be filled beforehand",
                why="it is not made of the keys and values of each layer",
                next="call generate with the inputs as they are",
            )
        return cache


def _state(model: nn.Module) -> Hashable:
    """What the numbers in a cache depend on, as far as it can be seen without reading the weights."""
    tensors = [*model.parameters(), *embedding_of(model).buffers()]
    return tuple(
        (id(t), t.data_ptr(), 0 if t.is_inference() else cast("Any", t)._version, t.dtype, t.device) for t in tensors
    )
