"""Writing a patched GGUF file: the stock file, the patch set, and a delta from one to the other where it is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from patchpm.atomic_write import open_atomic
from patchpm.errors import UsageError
from patchpm.export.gguf_delta import Delta, write_delta
from patchpm.export.gguf_pieces import HEAD, Provenance, patched_pieces
from patchpm.export.gguf_tokenizer import check_made_for, tokenizer_of_gguf
from patchpm.export.placed_set import PlacedSet, place_set
from patchpm.export.splice import Written, write_pieces
from patchpm.model.gguf_file import read_gguf
from patchpm.model.loaded import PatchSet
from patchpm.model.stored_tensor import Progress
from patchpm.patch.digest import Digest


@dataclass(frozen=True, slots=True, eq=False)
class PatchedGguf:
    """A patched GGUF file that was written."""

    path: Path
    placed: PlacedSet
    """The set in the file: token names, ids, chat template."""
    written: Written
    tied: bool
    """Whether the head is the embedding, so that only the list of suppressed tokens keeps prefix ids in."""
    delta: int | None
    """Bytes of the delta file, where one was written."""


def write_patched_gguf(
    stock: Path,
    target: Path,
    patches: PatchSet,
    base: Digest,
    *,
    folder: Path | None = None,
    untie: bool = False,
    delta: Path | None = None,
    progress: Progress | None = None,
) -> PatchedGguf:
    """Put a patch set into a copy of a GGUF file.

    Memory: that of the header and one chunk, whatever the size of the file; not the tokenizer's own.

    Args:
        stock: The base model; not changed.
        target: What to write; replaced where it exists.
        patches: A verified set that is made for this model, at `system-start`.
        base: Digest of the stock file's tensors, for the record in the file.
        folder: A model folder with the same tokenizer, which loads faster than the file's own.
        untie: Give a model whose head is its embedding a head of its own.
        delta: Also write a file that makes `target` from `stock`; both are then hashed.
        progress: Told of bytes written and bytes in all.

    Raises:
        UsageError: `already-patched`, `same-file`.
        IntegrityError: `malformed-gguf`, `truncated-weights`, `tokenizer-mismatch`, `template-mismatch`.
        CannotError: `split-gguf`, `model-unsupported`, `no-neutral-token`, `no-tokenizer`, `tokenizer-unsupported`,
            `type-unsupported`, `anchor-not-exportable`, `anchor-not-found`, and those of writing a file.
    """
    refuse_same_file(stock, target)
    header = read_gguf(stock)
    check_made_for(patches.patches, header)
    placed = place_set(tokenizer_of_gguf(header, folder), patches)
    pieces = patched_pieces(header, placed, Provenance(base), untie=untie)
    with open_atomic(target) as file:
        written = write_pieces(pieces, stock, file, digest=delta is not None, progress=progress)
    tied = not any(tensor.name == HEAD for tensor in read_gguf(target).tensors)
    size = None
    if delta is not None and written.digest is not None:
        size = write_delta(delta, Delta.between(stock, pieces, written, patches.digest))
    return PatchedGguf(target, placed, written, tied, size)


def refuse_same_file(stock: Path, target: Path) -> None:
    """Refuse to write over what is read.

    Raises:
        UsageError: `same-file`.
    """
    if target.exists() and target.samefile(stock):
        raise UsageError(
            "same-file",
            f"{target} is the stock model itself",
            why="it is read while the patched one is written, and is needed for the next export",
            next="give the patched file another name",
        )
