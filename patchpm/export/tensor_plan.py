"""Writing a safetensors file from pieces of other files, a few MiB at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from patchpm.model.stored_tensor import StoredTensor, read_exactly, reading

_CHUNK: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes of another file."""

    path: Path
    offset: int
    size: int

    @classmethod
    def of(cls, tensor: StoredTensor, begin: int = 0, end: int | None = None) -> Slice:
        """Rows `begin` to `end` of a tensor: all of it if nothing is said."""
        rows = tensor.shape[0] if tensor.shape else 1
        row = tensor.size // rows if rows else 0
        stop = rows if end is None else end
        return cls(tensor.path, tensor.offset + begin * row, (stop - begin) * row)


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor that is to be written."""

    name: str
    dtype: str
    """As the format names it."""
    shape: tuple[int, ...]
    parts: tuple[Slice | bytes, ...]
    """Its bytes, one part after the other."""

    @classmethod
    def copy(cls, tensor: StoredTensor) -> PlannedTensor:
        """The tensor as it is."""
        return cls(tensor.name, tensor.dtype, tensor.shape, (Slice(tensor.path, tensor.offset, tensor.size),))

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(len(part) if isinstance(part, bytes) else part.size for part in self.parts)


def write_safetensors(path: Path, tensors: Sequence[PlannedTensor], advance: Callable[[int], None]) -> int:
    """Write a file of `tensors`, in the given order.

    Memory: a few MiB, whatever the size of the tensors.

    Args:
        path: A file that is not there yet.
        tensors: Each with parts that add up to its size.
        advance: Told of the bytes written, now and then.

    Returns:
        The size of the file in bytes.

    Raises:
        CannotError: `unreadable-file`.
        IntegrityError: `truncated-weights`.
        OSError: From writing.
    """
    header = _header(tensors)
    with path.open("xb", buffering=0) as file:
        _write(file.fileno(), header)
        for tensor in tensors:
            written = 0
            for chunk in _chunks(tensor.parts):
                _write(file.fileno(), chunk)
                written += len(chunk)
                advance(len(chunk))
            if written != tensor.size:
                raise AssertionError(f"{tensor.name}: {written} bytes are planned, and its shape needs {tensor.size}")
        os.fsync(file.fileno())
        return file.tell()


def _header(tensors: Sequence[PlannedTensor]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for tensor in tensors:
        end = begin + tensor.size
        entries[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _chunks(parts: Iterable[Slice | bytes]) -> Iterable[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        with reading(part.path):
            source = os.open(part.path, os.O_RDONLY)
        try:
            for done in range(0, part.size, _CHUNK):
                size = min(_CHUNK, part.size - done)
                with reading(part.path):
                    chunk = read_exactly(source, size, part.offset + done, part.path)
                yield chunk
        finally:
            os.close(source)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
