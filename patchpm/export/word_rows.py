"""The new rows of a model's vocabulary, and the tensors that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from patchpm.errors import CannotError
from patchpm.export.placed_set import PlacedSet
from patchpm.export.tensor_bytes import DTYPES, bytes_of
from patchpm.export.tensor_plan import PlannedTensor, Slice
from patchpm.export.word_tables import WordTables
from patchpm.model.stored_tensor import StoredTensor

_MULTIPLE: Final = 64
"""Engines that split a vocabulary over several devices, or pad it, want multiples of it."""
_CLOSED: Final = -30_000.0
"""A bias under which no token is ever chosen; float16 ends at -65,504."""


@dataclass(frozen=True, slots=True)
class WordRows:
    """What goes into the tables of the vocabulary."""

    first: int
    """Row of the first new one."""
    end: int
    """One more than the last."""
    vocabulary: int
    """Rows in all."""
    embedding: bytes
    """The rows of the patches, as the embedding's file has numbers."""
    silent: torch.Tensor
    """`(width,)`: the head's row for each of them."""

    @classmethod
    def of(cls, placed: PlacedSet, tables: WordTables, silent: torch.Tensor) -> WordRows:
        """Lay out the rows of a set.

        Args:
            placed: The set in the vocabulary.
            tables: The base's own.
            silent: `(width,)`, the row of the head that is never chosen.

        Raises:
            CannotError: `rows-too-large`.
        """
        dtype = DTYPES[tables.embedding.dtype]
        # The model multiplies what it looks up, by the scale in its own number type; patches are trained behind that.
        rows = (placed.rows / torch.tensor(tables.scale).to(dtype).float()).to(dtype)
        if not bool(torch.isfinite(rows).all()):
            raise CannotError(
                "rows-too-large",
                f"a patch does not fit into the numbers of this model, {tables.embedding.dtype}",
                next="export from a copy of the base in float32 or bfloat16",
            )
        grown = -(-placed.end // _MULTIPLE) * _MULTIPLE
        return cls(
            first=placed.first,
            end=placed.end,
            vocabulary=tables.rows if placed.end <= tables.rows else grown,
            embedding=bytes_of(rows, tables.embedding.dtype),
            silent=silent,
        )


def planned(tables: WordTables, rows: WordRows) -> dict[str, tuple[PlannedTensor, ...]]:
    """What stands in the place of the stored tables, by the name of the stored tensor."""
    embedding, head = tables.embedding, tables.head
    size = embedding.size // tables.rows
    plan = {embedding.name: [_table(embedding, embedding.name, rows, rows.embedding, bytes(size))]}
    silent = bytes_of(rows.silent, (head or embedding).dtype)
    new_head = _table(head or embedding, tables.head_name, rows, silent * (rows.end - rows.first), silent)
    # Beside the embedding where it is new, so that it is aligned as that is.
    plan.setdefault(embedding.name if head is None else head.name, []).append(new_head)
    if tables.bias is not None:
        closed = bytes_of(torch.tensor([_CLOSED]), tables.bias.dtype)
        new = _table(tables.bias, tables.bias.name, rows, closed * (rows.end - rows.first), closed)
        plan[tables.bias.name] = [new]
    return {name: tuple(tensors) for name, tensors in plan.items()}


def _table(source: StoredTensor, name: str, rows: WordRows, ours: bytes, padding: bytes) -> PlannedTensor:
    """A table with our rows in it, and `padding` in each row that is nobody's."""
    had = source.shape[0]
    before, after = min(rows.first, had), min(rows.end, had)
    parts = (
        Slice.of(source, 0, before),
        padding * (rows.first - before),
        ours,
        Slice.of(source, after, had),
        padding * (rows.vocabulary - max(rows.end, had)),
    )
    return PlannedTensor(name, source.dtype, (rows.vocabulary, *source.shape[1:]), parts)
