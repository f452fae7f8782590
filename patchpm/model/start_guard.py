"""The guard that fails closed: no sequence starts without the prefix at its anchor.

A hook in front of the model's forward looks at every forward. Where a sequence begins, which is without a cache or with
an empty one, the prefix must stand at its anchor, and the cache is marked with the prefix that it began with. Where one
goes on, the cache must bear the mark of a prefix that is demanded now, and no prefix token may come again. The mark is
an attribute, so that it stays on copies of a cache; it stops mistakes, not programs that forge it.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Iterable, Sequence
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


_MARK = "patchpm_began"
_CACHES = ("cache", "past_key_values", "cache_params")


@dataclass(frozen=True)
class Watch:
    """What the guard demands."""

    tokenizer: Tokenizer
    placement: Placement | None
    """None where no patch is demanded: then no prefix token may be there."""
    run: tuple[int, ...]
    """The prefix tokens, with separators in between."""
    first: int
    """Ids in `[first, end)` are prefix tokens, active or not."""
    end: int

    def require_template(self) -> None:
        """Make sure that the tokenizer still emits the prefix.

        Raises:
            IntegrityError: `template-overridden`.
        """
        if self.placement is not None and not self.placement.stands(self.tokenizer):
            raise IntegrityError(
                "template-overridden",
                "the tokenizer no longer puts the patches' prefix into its output",
                why="its chat template or post-processor was replaced after the patches were applied",
                next="call remove() and apply the patches again",
            )

    def check(self, ids: Sequence[int]) -> None:
        """Check one sequence from its first token that is not padding.

        Raises:
            IntegrityError: `prefix-missing`, `prefix-misplaced`, `prefix-repeated`.
        """
        virtual = [place for place, token in enumerate(ids) if self.first <= token < self.end]
        if self.placement is None:
            if virtual:
                raise _broken("prefix-misplaced", "a prefix token stands where no patch is meant", "")
            return
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


@dataclass(frozen=True, slots=True)
class Began:
    """The mark on a cache: which prefixes its sequences began with, and under which guard."""

    guard: str
    runs: frozenset[tuple[int, ...]]


class StartGuard:
    """A pair of hooks. Each sequence must meet one of the `watches`; without any, everything passes.

    Args:
        model: Whose forward is watched; only its signature is read here.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = tuple(inspect.signature(model.forward).parameters)
        self._secret = secrets.token_hex(16)
        self.watches: tuple[Watch, ...] = ()

    def before(self, _module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Check the inputs of one forward."""
        if self.watches:
            _check_outside_graphs(self, {**dict(zip(self._parameters, arguments, strict=False)), **options})

    def behind(self, _module: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        """Mark the cache that a forward made by itself; what went in was checked."""
        if self.watches:
            _mark_outside_graphs(self, output)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let everything pass, for patchpm's own comparison with explicit embeddings."""
        watches, self.watches = self.watches, ()
        try:
            yield
        finally:
            self.watches = watches

    def met(self, ids: Sequence[int]) -> Watch:
        """The watch that a sequence meets, given from its first token that is not padding.

        Raises:
            IntegrityError: `prefix-missing`, `prefix-misplaced`, `prefix-repeated`, `template-overridden`; where there
                are several watches, `set-undeclared`.
        """
        faults = []
        for watch in self.watches:
            watch.require_template()
            try:
                watch.check(ids)
            except IntegrityError as fault:
                faults.append(fault)
            else:
                return watch
        if len(faults) == 1:
            raise faults[0]
        why = "; ".join(sorted({fault.what for fault in faults}))
        raise _broken("set-undeclared", "the input is of none of the declared patch sets", why)

    def began(self, watches: Iterable[Watch]) -> Began:
        """The mark for sequences that met these watches."""
        return Began(self._secret, frozenset(watch.run for watch in watches))


def _check(guard: StartGuard, inputs: dict[str, Any]) -> None:
    """Check the inputs of one forward, by parameter name."""
    ids = inputs.get("input_ids")
    if ids is None:
        raise IntegrityError(
            "embeddings-refused",
            "the model was called with embeddings instead of token ids",
            why="nothing shows that the patches' prefix is among them",
            next="pass input_ids, or work inside applied.disabled()",
        )
    packed = inputs.get("cu_seq_lens_q") is not None
    cache = None if packed else _cache_of(inputs)
    if cache is not None and not _is_empty(cache):
        _check_going_on(guard, cache, ids)
        return
    starts = _packed_starts(inputs, ids) if packed else _starts(inputs, ids)
    met = [guard.met(start) for start in starts]
    if cache is not None:
        setattr(cache, _MARK, guard.began(met))


def _check_going_on(guard: StartGuard, cache: Any, ids: torch.Tensor) -> None:
    """Check a forward that goes on with what a cache holds."""
    mark = getattr(cache, _MARK, None)
    known = guard.began(guard.watches)
    if not isinstance(mark, Began) or mark.guard != known.guard or not mark.runs <= known.runs:
        raise IntegrityError(
            "cache-foreign",
            "the cache does not hold the prefix of the patches that are active",
            why="it was filled before the patches were applied, without them, or under another set of them",
            next="start the sequence anew, without a cache",
        )
    watch = guard.watches[0]
    # One token at a time comes out of the model, whose logits for prefix tokens are closed.
    if ids.shape[1] > 1 and bool(((ids >= watch.first) & (ids < watch.end)).any()):
        why = "the cache holds the prefix already, so the ids must be those that follow it; generate() cuts them itself"
        raise _broken("prefix-repeated", "prefix tokens stand behind a cache that holds the prefix", why)


def _mark(guard: StartGuard, output: Any) -> None:
    """Mark the cache in the output of a forward that began its sequences without one."""
    cache = _cache_of(output) if isinstance(output, dict) else None
    if cache is not None and not hasattr(cache, _MARK):
        setattr(cache, _MARK, guard.began(guard.watches))


# Kept out of graphs of torch.compile: what is read are values, and a graph without the check would pass in silence.
_outside_graphs = cast("Any", torch.compiler).disable
_check_outside_graphs = cast("Callable[[StartGuard, dict[str, Any]], None]", _outside_graphs(_check))
_mark_outside_graphs = cast("Callable[[StartGuard, Any], None]", _outside_graphs(_mark))


def _cache_of(values: dict[str, Any]) -> Any:
    """The cache among inputs or outputs, or None. It is called `cache` from transformers 5.24 on."""
    return next((values[name] for name in _CACHES if values.get(name) is not None), None)


def _starts(inputs: dict[str, Any], ids: torch.Tensor) -> Iterator[list[int]]:
    """The rows of a batch that start in this forward, each without padding."""
    for row, real in zip(ids, _real(inputs.get("attention_mask"), ids), strict=True):
        yield row[real].tolist()


def _packed_starts(inputs: dict[str, Any], ids: torch.Tensor) -> Iterator[list[int]]:
    """The sequences that start in a packed row, as in continuous batching: it holds many, or later parts of them."""
    places = inputs.get("position_ids")
    goes_on = (places[0] > 0).tolist() if places is not None and inputs.get("cache") is not None else None
    for start, end in pairwise(inputs["cu_seq_lens_q"].tolist()):
        if end > start and not (goes_on and goes_on[start]):
            yield ids[0, start:end].tolist()


def _is_empty(cache: Any) -> bool:
    """Whether a cache holds no token yet."""
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
