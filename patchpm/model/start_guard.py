"""The guard that fails closed: no sequence starts without the prefix at its anchor.

A hook in front of the model's forward looks at every forward that begins a sequence, which is one without a cache or
with an empty one. Later steps, of one token or of several proposed ones, pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from patchpm.errors import IntegrityError
from patchpm.model.causal_lm import Tokenizer
from patchpm.model.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Watch:
    """What the guard demands."""

    tokenizer: Tokenizer
    placement: Placement
    run: tuple[int, ...]
    """The prefix tokens, with separators in between."""
    first: int
    """Ids in `[first, end)` are prefix tokens, active or not."""
    end: int

    def check(self, ids: Sequence[int]) -> None:
        """Check one sequence from its first token that is not padding.

        Raises:
            IntegrityError: `prefix-missing`, `prefix-misplaced`, `prefix-repeated`.
        """
        virtual = [place for place, token in enumerate(ids) if self.first <= token < self.end]
        if not virtual:
            raise _broken("prefix-missing", "the patches' prefix is missing in the input", "no prefix token is there")
        start = virtual[0]
        if tuple(ids[start : start + len(self.run)]) != self.run:
            raise _broken("prefix-missing", "the patches' prefix is not whole in the input", "tokens are cut or mixed")
        if not self.placement.head.fits(ids[:start]):
            why = f"it starts at token {start}, and other tokens stand before it than the anchor has"
            raise _broken("prefix-misplaced", "the patches' prefix is not at its anchor", why)
        if len(virtual) > sum(self.first <= token < self.end for token in self.run):
            why = "a text in the input contains the name of a prefix token"
            raise _broken("prefix-repeated", "prefix tokens stand in the input outside the prefix", why)


class StartGuard:
    """A forward pre-hook. Reads `watch` at every call; None lets everything pass.

    Args:
        model: Whose forward is watched; only its signature is read here.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = tuple(inspect.signature(model.forward).parameters)
        self.watch: Watch | None = None

    def __call__(self, _module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Check the inputs of one forward."""
        if self.watch is not None:
            _check_outside_graphs(self.watch, {**dict(zip(self._parameters, arguments, strict=False)), **options})

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let everything pass, for patchpm's own comparison with explicit embeddings."""
        watch, self.watch = self.watch, None
        try:
            yield
        finally:
            self.watch = watch


def _check(watch: Watch, inputs: dict[str, Any]) -> None:
    """Check the inputs of one forward, by parameter name."""
    ids = inputs.get("input_ids")
    if ids is None:
        raise IntegrityError(
            "embeddings-refused",
            "the model was called with embeddings instead of token ids",
            why="nothing shows that the patches' prefix is among them",
            next="pass input_ids, or work inside applied.disabled()",
        )
    starts = list(_starts(inputs, ids))
    if not starts:
        return
    if not watch.placement.stands(watch.tokenizer):
        raise IntegrityError(
            "template-overridden",
            "the tokenizer no longer puts the patches' prefix into its output",
            why="its chat template or post-processor was replaced after the patches were applied",
            next="call remove() and apply the patches again",
        )
    for start in starts:
        watch.check(start)


# Kept out of graphs of torch.compile: what is read are values, and a graph without the check would pass in silence.
_check_outside_graphs = cast("Callable[[Watch, dict[str, Any]], None]", cast("Any", torch.compiler).disable(_check))


def _starts(inputs: dict[str, Any], ids: torch.Tensor) -> Iterator[list[int]]:
    """The sequences that start in this forward, each without padding; those that a cache holds the start of go on."""
    bounds = inputs.get("cu_seq_lens_q")
    if bounds is not None:  # packed, as in continuous batching: one row holds many sequences, or later parts of them
        places = inputs.get("position_ids")
        goes_on = (places[0] > 0).tolist() if places is not None and inputs.get("cache") is not None else None
        for start, end in pairwise(bounds.tolist()):
            if end > start and not (goes_on and goes_on[start]):
                yield ids[0, start:end].tolist()
        return
    # `cache` is what `past_key_values` is called from transformers 5.24 on.
    if all(_is_empty(inputs.get(name)) for name in ("past_key_values", "cache", "cache_params")):
        for row, real in zip(ids, _real(inputs.get("attention_mask"), ids), strict=True):
            yield row[real].tolist()


def _is_empty(cache: Any) -> bool:
    """Whether a cache holds no token yet; None is none."""
    if cache is None:
        return True
    try:
        return int(cache.get_seq_length()) == 0
    except ValueError:  # the cache of a state-space model counts no tokens
        return not cache.has_previous_state()


def _real(mask: Any, ids: torch.Tensor) -> torch.Tensor:
    """Which tokens are not padding, `(batch, tokens)`, of bool.

    A static cache comes with a mask `(batch, 1, queries, keys)`, of bool or to be added: there a token is padding if it
    may not look at itself. Of a mask that is neither, nothing is known, and every token counts.
    """
    if isinstance(mask, dict):
        mask = next((one for one in mask.values() if one is not None), None)
    length = ids.shape[1]
    if isinstance(mask, torch.Tensor) and mask.ndim == 2:
        return mask[:, :length].bool().to(ids.device)
    if isinstance(mask, torch.Tensor) and mask.ndim == 4:
        own = mask[:, 0].diagonal(dim1=-2, dim2=-1)[:, :length]
        seen = own == 0 if own.is_floating_point() else own.bool()
        return seen.to(ids.device).expand(ids.shape)
    return torch.ones_like(ids, dtype=torch.bool)


def _broken(code: str, what: str, why: str) -> IntegrityError:
    return IntegrityError(
        code,
        what,
        why=why,
        next="build inputs with this tokenizer (apply_chat_template for chat), and do not edit the rendered text",
    )
