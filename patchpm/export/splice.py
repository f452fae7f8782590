"""A file told as pieces of another one: bytes copied from it, bytes of its own, and blocks of numbers stored anew.

What an export changes in a model of many gigabytes is a few pieces. They are a value, so they can be written down as a
delta, and writing them needs the memory of one chunk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

from patchpm.errors import CannotError
from patchpm.model.ggml_types import GGML_TYPES
from patchpm.model.stored_tensor import Progress, reading, truncated
from patchpm.patch.digest import Digest

if TYPE_CHECKING:
    import numpy as np

_CHUNK: Final = 1 << 20
_NUMBERS: Final = 1 << 20
"""Numbers that are converted at a time: 4 MiB as float32."""
_TYPES: Final = {kind.name: kind for kind in GGML_TYPES.values()}


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that the other file does not have."""

    data: bytes

    @property
    def written(self) -> int:
        """Bytes that come out."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Copy:
    """Bytes of the other file, as they are."""

    offset: int
    size: int

    @property
    def written(self) -> int:
        """Bytes that come out."""
        return self.size


@dataclass(frozen=True, slots=True)
class Requantised:
    """Numbers of the other file in Q8_0."""

    offset: int
    size: int
    dtype: str
    """As the other file has them, one of `ggml_types`; a block of it holds a multiple of 32 numbers."""

    @property
    def written(self) -> int:
        """Bytes that come out."""
        kind = _TYPES[self.dtype]
        return self.size // kind.size * kind.block // 32 * 34


Piece: TypeAlias = Literal | Copy | Requantised


@dataclass(frozen=True, slots=True)
class Written:
    """What writing a file came to, in bytes."""

    size: int
    copied: int
    requantised: int
    literal: int
    digest: Digest | None
    """Of the whole file, where it was asked for."""


def convertible(dtype: str, size: int) -> bool:
    """Whether so many bytes of a number type can become whole blocks of Q8_0."""
    kind = _TYPES.get(dtype)
    return kind is not None and size % kind.size == 0 and size // kind.size * kind.block % 32 == 0


def joined(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The same bytes in as few pieces as can be: neighbours become one, and empty ones go."""
    made: list[Piece] = []
    for piece in pieces:
        last = made[-1] if made else None
        if piece.written == 0:
            continue
        if isinstance(piece, Literal) and isinstance(last, Literal):
            made[-1] = Literal(last.data + piece.data)
        elif isinstance(piece, Copy) and isinstance(last, Copy) and last.offset + last.size == piece.offset:
            made[-1] = Copy(last.offset, last.size + piece.size)
        else:
            made.append(piece)
    return tuple(made)


def write_pieces(
    pieces: Iterable[Piece], source: Path, target: BinaryIO, *, digest: bool, progress: Progress | None = None
) -> Written:
    """Write a file from its pieces.

    Args:
        pieces: In order.
        source: The file they refer to.
        target: Open for writing, at its start.
        digest: Whether to hash what is written; without, the operating system may copy without showing the bytes.
        progress: Told of bytes written and bytes in all.

    Raises:
        IntegrityError: `truncated-weights` where a piece lies beyond the end of the source.
        CannotError: `type-unsupported`, `unreadable-file`.
    """
    pieces = tuple(pieces)
    total = sum(piece.written for piece in pieces)
    hasher = hashlib.sha256() if digest else None
    sizes = {Literal: 0, Copy: 0, Requantised: 0}
    with reading(source):
        file = source.open("rb")
    with file:
        for piece in pieces:
            sizes[type(piece)] += piece.written
            left: Piece = piece
            if isinstance(piece, Copy) and hasher is None:
                left = _copied_by_system(file, piece, target)
            for chunk in _chunks(file, left):
                target.write(chunk)
                if hasher is not None:
                    hasher.update(chunk)
                if progress is not None:
                    progress(target.tell(), total)
    return Written(
        size=total,
        copied=sizes[Copy],
        requantised=sizes[Requantised],
        literal=sizes[Literal],
        digest=None if hasher is None else Digest(hasher.hexdigest()),
    )


def _chunks(file: BinaryIO, piece: Piece) -> Iterator[bytes]:
    if isinstance(piece, Literal):
        yield piece.data
        return
    step: int = _CHUNK
    convert: Callable[[bytes], bytes] = _as_it_is
    if isinstance(piece, Requantised):
        kind = _TYPES[piece.dtype]
        step, convert = _NUMBERS // kind.block * kind.size, _converter(piece.dtype)
    left = piece.size
    while left:
        with reading(Path(file.name)):
            file.seek(piece.offset + piece.size - left)
            data = file.read(min(step, left))
        if len(data) < min(step, left):
            raise truncated(Path(file.name), "it ends in the middle of what is to be copied")
        left -= len(data)
        yield convert(data)


def _as_it_is(data: bytes) -> bytes:
    return data


def _copied_by_system(file: BinaryIO, piece: Copy, target: BinaryIO) -> Copy:
    """Let the operating system copy, which may share the blocks on disk; give back what it did not do."""
    target.flush()
    done = 0
    while done < piece.size:
        try:
            moved = os.copy_file_range(file.fileno(), target.fileno(), piece.size - done, piece.offset + done)
        except (AttributeError, OSError):  # not Linux, or two file systems
            break
        if moved == 0:
            break
        done += moved
    target.seek(0, os.SEEK_END)
    return Copy(piece.offset + done, piece.size - done)


def numbers_of(data: bytes, dtype: str) -> np.ndarray:
    """Whole blocks of a number type as float32.

    Raises:
        CannotError: `type-unsupported`.
    """
    import numpy
    from gguf import GGMLQuantizationType, quants

    try:
        numbers: np.ndarray = quants.dequantize(numpy.frombuffer(data, numpy.uint8), GGMLQuantizationType[dtype])
    except NotImplementedError as error:  # what gguf raises for a type that it cannot read
        raise CannotError(
            "type-unsupported",
            f"numbers of the type {dtype} cannot be converted",
            why="the package gguf does not read this type",
            next="start from a GGUF whose token_embd.weight has another type, such as Q8_0 or Q6_K",
        ) from error
    return numbers


def _converter(dtype: str) -> Callable[[bytes], bytes]:
    from gguf import GGMLQuantizationType, quants

    def convert(data: bytes) -> bytes:
        return bytes(quants.quantize(numbers_of(data, dtype), GGMLQuantizationType.Q8_0).tobytes())

    return convert
