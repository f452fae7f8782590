"""What must stand where: the run of prefix tokens, and the tokens that may stand before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from patchpm.model.causal_lm import Tokenizer


@dataclass(frozen=True, slots=True)
class Run:
    """The prefix tokens of the active patches, in order, as text and as ids."""

    text: str
    """Token names, with the separators between patches; without the last separator."""
    ids: tuple[int, ...]
    """What `text` is tokenised to."""
    separator: str
    """Text between the run and what follows it."""


@dataclass(frozen=True, slots=True)
class Head:
    """The tokens that stand before the run: always the same, or known at both ends only (a date, tools in between)."""

    start: tuple[int, ...]
    end: tuple[int, ...]
    exact: bool
    """Whether `start` is all of it."""

    @classmethod
    def of(cls, heads: Sequence[tuple[int, ...]]) -> Head:
        """What the heads of all probe conversations have in common."""
        start = _common(heads)
        exact = all(head == start for head in heads)
        end = _common([head[::-1] for head in heads])[::-1]
        return cls(start, end, exact)

    def fits(self, ids: Sequence[int]) -> bool:
        """Whether `ids` may stand before the run."""
        found = tuple(ids)
        if self.exact:
            return found == self.start
        ends = not self.end or found[-len(self.end) :] == self.end
        return found[: len(self.start)] == self.start and ends


class Placement(Protocol):
    """A tokenizer set up so that it puts a run at an anchor, with the proof that it does."""

    @property
    def head(self) -> Head:
        """What stands before the run."""

    @property
    def note(self) -> str:
        """What a reader must know of the place; mostly empty."""

    @property
    def example(self) -> tuple[int, ...]:
        """The token ids of one probe, with the run in it."""

    @property
    def probes(self) -> int:
        """Number of probes behind the proof."""

    def install(self, tokenizer: Tokenizer) -> None:
        """Set the tokenizer up."""

    def stands(self, tokenizer: Tokenizer) -> bool:
        """Whether the tokenizer is set up so."""

    def proves(self, tokenizer: Tokenizer) -> bool:
        """Whether the tokenizer still gives the proven ids for every probe."""


def _common(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The longest common start."""
    shared: list[int] = []
    for column in zip(*rows, strict=False):
        if len(set(column)) != 1:
            break
        shared.append(column[0])
    return tuple(shared)
