r"""What the digests of weights are taken over. A public format: a client in another language needs only this page.

A *row* describes one tensor. Rows are sorted by the tensor's name (by code point, which is the order of the UTF-8
bytes) and written as one JSON list without white space, text in UTF-8 and not escaped beyond what JSON asks for
(`\"`, `\\`, the short escapes of control characters, `\u00xx` in lower case for the others). The digest is the
SHA-256 of a line that names the format, followed by that JSON:

    tensors = sha256("patchpm-weights-v1\n"      + [[name, dtype, shape, hash], ...])
    bf16    = sha256("patchpm-weights-bf16-v1\n" + [[name, shape, hash] or [name, dtype, shape, hash], ...])

`name`, `dtype` and `shape` are those of the file: safetensors' own names (`F32`, `BF16`, ...) and order, or for a
GGUF file GGML's type names (`Q4_1`, `F32`, ...) and GGUF's order of dimensions, the fastest first. `hash` is 64
lowercase hex digits:

- in `tensors`, the SHA-256 of the tensor's bytes as they are stored;
- in `bf16`, for F64, F32, F16 and BF16 tensors, the SHA-256 of the numbers rounded to bfloat16 (see
  `bfloat16.rounder`), and the dtype is left out of the row, so that copies in another precision agree; for any other
  dtype, the SHA-256 of the stored bytes, and the dtype stays in the row.

Which file a tensor lies in, where, in what order, and a file's `__metadata__` take no part: re-sharding changes
neither digest. Tied weights count as they are stored. A GGUF file has no `bf16` digest, since its names and shapes
are not the original's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from patchpm.model import bfloat16
from patchpm.patch import strict_json
from patchpm.patch.digest import Digest

_TENSORS: Final = b"patchpm-weights-v1\n"
_BF16: Final = b"patchpm-weights-bf16-v1\n"


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """One tensor: what both rows are made of."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: str
    """SHA-256 of the stored bytes, in hex."""
    rounded: str | None
    """SHA-256 of the numbers as bfloat16; equal to `stored` where nothing is rounded, None where not asked for."""


class TensorHasher:
    """Hashes one tensor from consecutive chunks, for both digests in one pass."""

    def __init__(self, dtype: str, *, bf16: bool) -> None:
        self._stored = hashlib.sha256()
        self._bf16 = bf16
        self._rounded = hashlib.sha256() if bf16 and dtype in bfloat16.ROUNDED and dtype != "BF16" else None
        self._round = bfloat16.rounder(dtype) if self._rounded else None

    def update(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes, a whole number of elements."""
        self._stored.update(chunk)
        if self._rounded and self._round:
            self._rounded.update(self._round(chunk))

    def finish(self, name: str, dtype: str, shape: tuple[int, ...]) -> TensorDigest:
        """Give the result."""
        stored = self._stored.hexdigest()
        rounded = self._rounded.hexdigest() if self._rounded else stored
        return TensorDigest(name, dtype, shape, stored, rounded if self._bf16 else None)


def tensors_digest(tensors: Iterable[TensorDigest]) -> Digest:
    """Identity of the very tensors, in whatever files."""
    return _digest(_TENSORS, [[one.name, one.dtype, list(one.shape), one.stored] for one in _by_name(tensors)])


def bf16_digest(tensors: Iterable[TensorDigest]) -> Digest:
    """Identity of the weights in bfloat16: the same for a bf16 file and its wider copies."""
    rows: list[strict_json.JsonValue] = []
    for one in _by_name(tensors):
        dtype: list[strict_json.JsonValue] = [] if one.dtype in bfloat16.ROUNDED else [one.dtype]
        rows.append([one.name, *dtype, list(one.shape), one.rounded])
    return _digest(_BF16, rows)


def _by_name(tensors: Iterable[TensorDigest]) -> list[TensorDigest]:
    return sorted(tensors, key=lambda one: one.name)


def _digest(prefix: bytes, rows: strict_json.JsonValue) -> Digest:
    return Digest.of(prefix + strict_json.compact(rows))
