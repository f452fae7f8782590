r"""A small file that makes the patched GGUF file from the stock one. This is a public format.

    "patchpm-gguf-delta-v1\n", length of the plan (4 bytes, little-endian), plan, literal bytes

The plan is strict JSON:

    {"set": digest of the patch set,
     "stock": {"sha256": ..., "size": ...}, "result": {"sha256": ..., "size": ...},
     "pieces": [["copy", offset, size], ["literal", size], ["q8_0", offset, size, type], ...]}

The result is its pieces in order: bytes of the stock file, the next literal bytes, or a range of the stock file that
holds numbers of a ggml type, in Q8_0 as the package `gguf` converts them. Nothing in it is executed. A reader refuses
ranges beyond the stock file, and a result whose digest is another.

A delta is not signed: it proves that the result is what its maker had, and it is as trustworthy as the way it came.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from patchpm.atomic_write import open_atomic, write_atomic
from patchpm.errors import IntegrityError
from patchpm.export.splice import Copy, Literal, Piece, Requantised, Written, convertible, write_pieces
from patchpm.model.stored_tensor import Progress, reading
from patchpm.patch import strict_json
from patchpm.patch.digest import Digest
from patchpm.patch.record import Record

_MAGIC: Final = b"patchpm-gguf-delta-v1\n"
_MAX_PLAN: Final = 8 << 20
_MAX_LITERAL: Final = 256 << 20
_MAX_PIECES: Final = 100_000
_MOST_GROWTH: Final = 8
"""A result is at most so many times as large as the stock file: no type grows more when it becomes Q8_0."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A file by its bytes."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Delta:
    """How to make one file from another."""

    patches: Digest
    """Of the patch set that the result holds."""
    stock: FileIdentity
    result: FileIdentity
    pieces: tuple[Piece, ...]

    @classmethod
    def between(cls, stock: Path, pieces: tuple[Piece, ...], written: Written, patches: Digest) -> Delta:
        """The delta of a file that was just written from `pieces`, with its digest.

        Raises:
            CannotError: `unreadable-file`.
        """
        assert written.digest is not None, "the caller asked for a digest"
        return cls(patches, identity_of(stock), FileIdentity(written.digest, written.size), pieces)


def identity_of(path: Path) -> FileIdentity:
    """Hash a file.

    Raises:
        CannotError: `unreadable-file`.
    """
    with reading(path), path.open("rb") as file:
        return FileIdentity(Digest(hashlib.file_digest(file, "sha256").hexdigest()), path.stat().st_size)


def write_delta(path: Path, delta: Delta) -> int:
    """Write the delta and return its size in bytes.

    Raises:
        CannotError: Those of writing a file.
    """
    plan = strict_json.compact(
        {
            "set": str(delta.patches),
            "stock": _identity(delta.stock),
            "result": _identity(delta.result),
            "pieces": [_told(piece) for piece in delta.pieces],
        }
    )
    literals = b"".join(piece.data for piece in delta.pieces if isinstance(piece, Literal))
    data = _MAGIC + len(plan).to_bytes(4, "little") + plan + literals
    write_atomic(path, data)
    return len(data)


def read_delta(path: Path) -> Delta:
    """Read a delta, which may come from anywhere.

    Raises:
        IntegrityError: `malformed-delta`, `malformed-json`.
        CannotError: `unreadable-file`.
    """
    with reading(path), path.open("rb") as file:
        data = file.read(_MAX_PLAN + _MAX_LITERAL + 1)
    start = len(_MAGIC) + 4
    if not data.startswith(_MAGIC) or len(data) < start:
        raise _malformed(path, "it does not start as a delta of patchpm does")
    length = int.from_bytes(data[len(_MAGIC) : start], "little")
    if length > min(_MAX_PLAN, len(data) - start) or len(data) - start - length > _MAX_LITERAL:
        raise _malformed(path, "its plan or its bytes are longer than the file, or than is allowed")
    value = strict_json.loads(data[start : start + length], source=str(path), max_bytes=_MAX_PLAN, max_depth=4)
    return _delta(Record(value, str(path), code="malformed-delta"), data[start + length :])


def apply_delta(delta: Delta, stock: Path, target: Path, *, progress: Progress | None = None) -> Written:
    """Write the patched file, or nothing.

    Raises:
        IntegrityError: `base-mismatch` where the stock file is another, `delta-mismatch` where the result is.
        CannotError: `type-unsupported`, `unreadable-file`, and those of writing a file.
    """
    found = identity_of(stock)
    if found != delta.stock:
        raise IntegrityError(
            "base-mismatch",
            f"{stock} is not the file that the delta was made from",
            why=f"expected {delta.stock.size:,} bytes, {delta.stock.digest}; found {found.size:,}, {found.digest}",
            next="get the very file, or export from the one you have",
        )
    with open_atomic(target) as file:
        written = write_pieces(delta.pieces, stock, file, digest=True, progress=progress)
        if written.digest != delta.result.digest:
            raise IntegrityError(
                "delta-mismatch",
                f"the delta does not make the file that it promises from {stock}",
                why=f"expected {delta.result.digest}, found {written.digest}",
                next="get the delta again",
            )
    return written


def _identity(file: FileIdentity) -> strict_json.JsonValue:
    return {"sha256": str(file.digest), "size": file.size}


def _told(piece: Piece) -> strict_json.JsonValue:
    if isinstance(piece, Literal):
        return ["literal", len(piece.data)]
    if isinstance(piece, Copy):
        return ["copy", piece.offset, piece.size]
    return ["q8_0", piece.offset, piece.size, piece.dtype]


def _delta(record: Record, literals: bytes) -> Delta:
    stock, result = _read_identity(record, "stock"), _read_identity(record, "result")
    told = record.raw("pieces")
    if not isinstance(told, list) or len(told) > _MAX_PIECES:
        raise record.refuse(f"is not a list of at most {_MAX_PIECES:,} pieces", "pieces")
    pieces: list[Piece] = []
    used = 0
    for item in told:
        piece = _piece(item, stock.size, memoryview(literals)[used:])
        if piece is None:
            raise record.refuse(f"has {str(item)[:80]}, which is no piece of the stock file or of the delta", "pieces")
        if isinstance(piece, Literal):
            used += len(piece.data)
        pieces.append(piece)
    made = sum(piece.written for piece in pieces)
    if used != len(literals) or made != result.size or made > _MOST_GROWTH * stock.size + len(literals):
        raise record.refuse(f"gives {made:,} bytes and uses {used:,} of {len(literals):,} literal ones", "pieces")
    delta = Delta(record.digest("set"), stock, result, tuple(pieces))
    record.done()
    return delta


def _read_identity(record: Record, key: str) -> FileIdentity:
    inner = record.record(key)
    made = FileIdentity(inner.digest("sha256"), inner.integer("size", low=1, high=strict_json.MAX_INTEGER))
    inner.done()
    return made


def _piece(item: object, stock: int, literals: memoryview) -> Piece | None:
    """One piece, or None where it is none, or reaches beyond the stock file or the literal bytes."""
    match item:
        case ["literal", int(size)] if 0 < size <= len(literals):
            return Literal(bytes(literals[:size]))
        case ["copy", int(offset), int(size)] if offset >= 0 and 0 < size <= stock - offset:
            return Copy(offset, size)
        case ["q8_0", int(offset), int(size), str(dtype)] if offset >= 0 and 0 < size <= stock - offset:
            return Requantised(offset, size, dtype) if convertible(dtype, size) else None
    return None


def _malformed(path: Path, why: str) -> IntegrityError:
    return IntegrityError("malformed-delta", f"{path} is not an acceptable delta", why=why)
