"""Writing a patched GGUF file: the stock file, the patch set, and a delta from one to the other where it is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from patchpm.atomic_write import open_atomic
from patchpm.errors import UsageError
from patchpm.export.gguf_delta import Delta, write_delta
from patchpm.export.gguf_pieces import HEAD, Provenance, patched_pieces
from patchpm.export.gguf_tokenizer import check_made_for, tokenizer_of_gguf
from patchpm.export.placed_set import PlacedSet, place_set
from patchpm.export.splice import Written, write_pieces
from patchpm.model.causal_lm import Tokenizer
from patchpm.model.gguf_file import GgufHeader, read_gguf
from patchpm.model.loaded import PatchSet
from patchpm.model.stored_tensor import Progress
from patchpm.patch.digest import Digest


@dataclass(frozen=True, slots=True, eq=False)
class PlacedInGguf:
    """A patch set placed in the tokenizer and the chat template of a GGUF file; nothing is written yet."""

    header: GgufHeader
    """Of the stock file."""
    tokenizer: Tokenizer
    """With the tokens and the template of the patched file."""
    placed: PlacedSet


@dataclass(frozen=True, slots=True)
class PatchedGguf:
    """A patched GGUF file that was written."""

    written: Written
    tied: bool
    """Whether the head is the embedding, so that only the list of suppressed tokens keeps prefix ids in."""
    delta: int | None
    """Bytes of the delta file, where one was written."""


def place_in_gguf(stock: Path, patches: PatchSet, *, folder: Path | None = None) -> PlacedInGguf:
    """Find the place of a patch set in a GGUF file, and prove it on the tokenizer that the file holds.

    Args:
        stock: The base model.
        patches: A verified set that is made for this model, at `system-start`.
        folder: A model folder with the same tokenizer, which loads faster than the file's own.

    Raises:
        IntegrityError: `malformed-gguf`, `truncated-weights`, `tokenizer-mismatch`, `template-mismatch`.
        CannotError: `split-gguf`, `no-tokenizer`, `tokenizer-unsupported`, `anchor-not-exportable`,
            `anchor-not-found`, `unreadable-file`.
    """
    header = read_gguf(stock)
    check_made_for(patches.patches, header)
    tokenizer = tokenizer_of_gguf(header, folder)
    return PlacedInGguf(header, tokenizer, place_set(tokenizer, patches))


def write_patched_gguf(
    place: PlacedInGguf,
    target: Path,
    base: Digest,
    *,
    untie: bool = False,
    delta: Path | None = None,
    progress: Progress | None = None,
) -> PatchedGguf:
    """Write the stock file with the patch set in it.

    Memory: that of the header and of one chunk, whatever the size of the file.

    Args:
        place: The set, placed.
        target: What to write; replaced where it exists.
        base: Digest of the stock file's tensors, for the record in the file.
        untie: Give a model whose head is its embedding a head of its own.
        delta: Also write a file that makes `target` from the stock file; both are then hashed.
        progress: Told of bytes written and bytes in all.

    Raises:
        UsageError: `already-patched`, `same-file`.
        IntegrityError: `malformed-gguf`, `truncated-weights`.
        CannotError: `model-unsupported`, `type-unsupported`, `unreadable-file`, and those of writing a file.
    """
    stock = place.header.path
    refuse_same_file(stock, target, *(() if delta is None else (delta,)))
    pieces = patched_pieces(place.header, place.placed, Provenance(base), untie=untie)
    with open_atomic(target) as file:
        written = write_pieces(pieces, stock, file, digest=delta is not None, progress=progress)
    tied = not any(tensor.name == HEAD for tensor in read_gguf(target).tensors)
    size = None
    if delta is not None and written.digest is not None:
        size = write_delta(delta, Delta.between(stock, pieces, written, place.placed.patches.digest))
    return PatchedGguf(written, tied, size)


def refuse_same_file(*files: Path) -> None:
    """Refuse to write over what is read, or over what was just written.

    Args:
        files: All that are read and written.

    Raises:
        UsageError: `same-file`.
    """
    for one, other in combinations(files, 2):
        if one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other)):
            raise UsageError(
                "same-file",
                f"{one} and {other} are the same file",
                why="the stock model is read while the others are written, and is needed for the next export",
                next="give each file a name of its own",
            )
