"""Reading the header of a GGUF file: where its tensors lie, and the few metadata values that identify the model.

A strict reader of its own: values that are not wanted are stepped over, so memory is bounded by the vocabulary, and
every count is held against what is left of the file before anything is read.

    magic "GGUF", version (2 or 3), number of tensors, number of metadata entries
    metadata  key, type, value
    tensors   name, number of dimensions, dimensions, type, offset from the start of the data
    padding to the alignment, then the data; each tensor starts where the one before ends, rounded up to the alignment

Everything is little-endian. Source: ggml's description of GGUF.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from patchpm.errors import CannotError, IntegrityError
from patchpm.model.ggml_types import GGML_TYPES
from patchpm.model.stored_tensor import StoredTensor, reading, truncated

Value: TypeAlias = int | float | bool | str | list[Any]
"""A metadata value that is kept."""

_SCALARS: Final = dict(enumerate("BbHhIif?", start=0)) | {10: "Q", 11: "q", 12: "d"}
_STRING: Final = 8
_ARRAY: Final = 9
_MAX_NAME: Final = 65_535
_MAX_TEXT: Final = 16 * 1024 * 1024
_MAX_ITEMS: Final = 4_000_000
_TEXTS_KEPT: Final = ("general.architecture", "tokenizer.ggml.model", "tokenizer.chat_template")
_TEMPLATES: Final = "tokenizer.chat_template."
_ARRAYS_KEPT: Final = tuple(f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "merges", "suppress_tokens"))


@dataclass(frozen=True, slots=True)
class GgufEntry:
    """Where one entry of the metadata lies in the file, its key and its type included."""

    key: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says before its numbers."""

    path: Path
    version: int
    metadata: dict[str, Value]
    """All scalars, and what names the architecture, the vocabulary and the chat templates."""
    entries: tuple[GgufEntry, ...]
    """All metadata, kept here or not, in the order of the file."""
    tensors: tuple[StoredTensor, ...]
    """In the order in which they lie in the file."""
    alignment: int
    """Tensors start at multiples of so many bytes."""

    def text(self, key: str) -> str | None:
        """A text of the metadata, or None.

        Raises:
            IntegrityError: `malformed-gguf` for a value of another type.
        """
        value = self.metadata.get(key)
        if value is not None and not isinstance(value, str):
            raise malformed_gguf(self.path, f"{key} is not a text")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of texts; empty where there is none.

        Raises:
            IntegrityError: `malformed-gguf` for a value of another type.
        """
        value = self.metadata.get(key, [])
        texts = [item for item in value if isinstance(item, str)] if isinstance(value, list) else None
        if texts is None or not isinstance(value, list) or len(texts) != len(value):
            raise malformed_gguf(self.path, f"{key} is not a list of texts")
        return texts

    def integers(self, key: str) -> list[int]:
        """A list of integers; empty where there is none.

        Raises:
            IntegrityError: `malformed-gguf` for a value of another type.
        """
        value = self.metadata.get(key, [])
        numbers = [item for item in value if isinstance(item, int)] if isinstance(value, list) else None
        if numbers is None or not isinstance(value, list) or len(numbers) != len(value):
            raise malformed_gguf(self.path, f"{key} is not a list of integers")
        return numbers

    def hidden_size(self) -> int:
        """Width of the embedding.

        Raises:
            IntegrityError: `malformed-gguf` where the file does not say it.
        """
        width = self.metadata.get(f"{self.text('general.architecture')}.embedding_length")
        if not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise malformed_gguf(self.path, "it does not say the width of the embedding (embedding_length)")
        return width


def read_gguf(path: Path) -> GgufHeader:
    """Read everything before the data.

    Raises:
        IntegrityError: `truncated-weights` for a file shorter than it says, `malformed-gguf` for anything else wrong.
        CannotError: `split-gguf` for one part of a model in several files, `unreadable-file`.
    """
    with reading(path), path.open("rb") as file:
        reader = _Reader(path, file, path.stat().st_size)
        if reader.take(4) != b"GGUF":
            raise malformed_gguf(path, "it does not start with the letters GGUF")
        version = reader.number("I")
        if version not in (2, 3):
            raise malformed_gguf(path, f"its version {version} is not 2 or 3, or it is big-endian")
        tensor_count, entries = reader.number("Q"), reader.number("Q")
        metadata, places = _metadata(reader, entries)
        infos = _tensor_infos(reader, tensor_count)
        alignment = _alignment(path, metadata)
        tensors = _tile(path, alignment, infos, reader.position, reader.length)
    return GgufHeader(path, version, metadata, places, tensors, alignment)


class _Reader:
    """The file, with a check before every step that it is long enough."""

    def __init__(self, path: Path, file: BinaryIO, length: int) -> None:
        self.path = path
        self.length = length
        self._file = file
        self._left = length

    @property
    def position(self) -> int:
        """Bytes read or stepped over so far."""
        return self.length - self._left

    def _step(self, size: int) -> None:
        if size > self._left:
            raise truncated(self.path, f"its header needs {size - self._left:,} bytes more than the file has")
        self._left -= size

    def take(self, size: int) -> bytes:
        self._step(size)
        data = self._file.read(size)
        if len(data) < size:
            raise truncated(self.path, "it became shorter while it was read")
        return data

    def skip(self, size: int) -> None:
        self._step(size)
        self._file.seek(size, 1)

    def number(self, form: str) -> int:
        """Read one integer; `form` is its letter in `struct`."""
        value = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]
        return int(value)

    def text(self, most: int, what: str) -> str:
        size = self.number("Q")
        if size > most:
            raise malformed_gguf(self.path, f"{what} has {size:,} bytes; at most {most:,} are allowed")
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError as error:
            raise malformed_gguf(self.path, f"{what} is not UTF-8 text") from error

    def count(self, what: str, smallest: int) -> int:
        """Read the number of items that take at least `smallest` bytes each, so that a lie shows before a loop."""
        count = self.number("Q")
        if count * smallest > self._left:
            raise truncated(self.path, f"{what} has {count:,} items, more than fit into the file")
        return count

    def value(self, key: str) -> Value | None:
        kind = self.number("I")
        if kind == _ARRAY:
            return self._array(key)
        if kind != _STRING:
            value: int | float | bool = self._scalars(key, kind, 1)[0]
            return value
        if key in _TEXTS_KEPT or key.startswith(_TEMPLATES):
            return self.text(_MAX_TEXT, key)
        self.skip(self.number("Q"))
        return None

    def _scalars(self, key: str, kind: int, count: int) -> list[Any]:
        data = self.take(self._width(key, kind) * count)
        return list(struct.unpack(f"<{count}{_SCALARS[kind]}", data))

    def _width(self, key: str, kind: int) -> int:
        if kind not in _SCALARS:
            raise malformed_gguf(self.path, f"{key} has the unknown type {kind}")
        return struct.calcsize("<" + _SCALARS[kind])

    def _array(self, key: str) -> Value | None:
        kind = self.number("I")
        size = 8 if kind == _STRING else self._width(key, kind)
        count = self.count(key, size)
        if key not in _ARRAYS_KEPT:
            if kind != _STRING:
                self.skip(size * count)
            for _ in range(count if kind == _STRING else 0):
                self.skip(self.number("Q"))
            return None
        if count > _MAX_ITEMS:
            raise malformed_gguf(self.path, f"{key} has {count:,} items; at most {_MAX_ITEMS:,} are allowed")
        if kind == _STRING:
            return [self.text(_MAX_NAME, key) for _ in range(count)]
        return self._scalars(key, kind, count)


def _metadata(reader: _Reader, entries: int) -> tuple[dict[str, Value], tuple[GgufEntry, ...]]:
    metadata: dict[str, Value] = {}
    places: dict[str, GgufEntry] = {}
    for _ in range(entries):
        begin = reader.position
        key = reader.text(_MAX_NAME, "a key")
        if key in places:
            raise malformed_gguf(reader.path, f"the key {key[:80]!r} stands twice")
        value = reader.value(key)
        places[key] = GgufEntry(key, begin, reader.position - begin)
        if value is not None:
            metadata[key] = value
    parts = metadata.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise CannotError(
            "split-gguf",
            f"{reader.path} is one of {parts} parts of a model",
            next="join them first: llama-gguf-split --merge FIRST_PART OUTPUT",
        )
    return metadata, tuple(places.values())


@dataclass(frozen=True, slots=True)
class _TensorInfo:
    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    offset: int
    """From the start of the data."""


def _tensor_infos(reader: _Reader, count: int) -> list[_TensorInfo]:
    infos: dict[str, _TensorInfo] = {}
    for _ in range(count):
        info = _tensor_info(reader)
        if info.name in infos:
            raise malformed_gguf(reader.path, f"the tensor {info.name[:80]!r} stands twice")
        infos[info.name] = info
    return list(infos.values())


def _tensor_info(reader: _Reader) -> _TensorInfo:
    name = reader.text(_MAX_NAME, "a tensor's name")
    rank = reader.number("I")
    if not 1 <= rank <= 4:
        raise malformed_gguf(reader.path, f"the tensor {name[:80]!r} has {rank} dimensions; 1 to 4 are allowed")
    shape = tuple(reader.number("Q") for _ in range(rank))
    number = reader.number("I")
    kind = GGML_TYPES.get(number)
    if kind is None:
        raise malformed_gguf(
            reader.path, f"the tensor {name[:80]!r} has the type {number}, which this patchpm does not know"
        )
    if shape[0] % kind.block:
        raise malformed_gguf(reader.path, f"the rows of {name[:80]!r} are no whole number of {kind.name} blocks")
    size = math.prod(shape) // kind.block * kind.size
    return _TensorInfo(name, kind.name, shape, size, reader.number("Q"))


def _alignment(path: Path, metadata: dict[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment not in {1 << bit for bit in range(3, 17)}:
        raise malformed_gguf(path, f"its alignment {alignment} is not a power of two from 8 to 65,536")
    return alignment


def _tile(
    path: Path, alignment: int, infos: list[_TensorInfo], header_end: int, length: int
) -> tuple[StoredTensor, ...]:
    start = -(-header_end // alignment) * alignment
    tensors, reached = [], 0
    for info in sorted(infos, key=lambda info: (info.offset, info.size)):
        if info.offset != -(-reached // alignment) * alignment:
            fault = "overlaps" if info.offset < reached else "does not follow"
            raise malformed_gguf(path, f"the tensor {info.name[:80]!r} {fault} its neighbour")
        tensors.append(StoredTensor(info.name, info.dtype, info.shape, path, start + info.offset, info.size))
        reached = info.offset + info.size
    if start + reached > length:
        raise truncated(path, f"its tensors need {start + reached:,} bytes, and the file has {length:,}")
    if length > start - (-reached // alignment) * alignment:
        raise malformed_gguf(path, f"{length - start - reached:,} bytes after the last tensor belong to none")
    return tuple(tensors)


def malformed_gguf(path: Path, why: str) -> IntegrityError:
    """The error for a GGUF file that is not exactly the format."""
    return IntegrityError("malformed-gguf", f"{path} is not an acceptable GGUF file", why=why)
