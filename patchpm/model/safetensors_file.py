"""Reading the header of a safetensors file, by patchpm's own strict reader.

The safetensors library takes duplicate tensor names (the last one wins, so two readers may see two models), entries
with unknown fields and names of any length. Nothing here reads the numbers, so a header costs milliseconds in any
file.

    8 bytes   header length H, unsigned little-endian
    H bytes   JSON {name: {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}, ...}, where the name
              `__metadata__` is free for an object of texts
    rest      the numbers; the tensors cover it without gap or overlap

Source: the safetensors format description.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from patchpm.errors import IntegrityError
from patchpm.model.stored_tensor import StoredTensor, read_exactly, reading, truncated
from patchpm.patch import strict_json

BITS: Final = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    **dict.fromkeys(
        ("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
        8,
    ),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
"""Size of one element in bits, by the names that the format gives its dtypes."""
MAX_HEADER: Final = 32 * 1024 * 1024
"""Largest header accepted, in bytes: about 200,000 tensors in one file."""
_MAX_NAME: Final = 512
_MAX_RANK: Final = 16


def read_safetensors(path: Path) -> tuple[StoredTensor, ...]:
    """List the tensors of one file, sorted by where they lie.

    Raises:
        IntegrityError: `truncated-weights` for a file shorter than its header says, `malformed-safetensors` for
            anything else that is not exactly the format.
        CannotError: `unreadable-file`.
    """
    with reading(path), path.open("rb", buffering=0) as file:
        length = file.seek(0, 2)
        if length < 8:
            raise truncated(path, f"it has {length} bytes, too few for a safetensors file")
        header_size = int.from_bytes(read_exactly(file.fileno(), 8, 0, path), "little")
        if header_size > MAX_HEADER:
            raise _malformed(path, f"its header claims {header_size:,} bytes, and at most {MAX_HEADER:,} are allowed")
        if 8 + header_size > length:
            raise truncated(path, f"its header claims {header_size:,} bytes, and the file has {length:,}")
        header = read_exactly(file.fileno(), header_size, 8, path)
    return _tile(path, _entries(path, header), 8 + header_size, length)


def _entries(path: Path, header: bytes) -> dict[str, strict_json.JsonValue]:
    if not header.startswith(b"{"):
        raise _malformed(path, "its header does not start with a brace")
    try:
        entries = strict_json.loads(header, source="the header", max_bytes=MAX_HEADER, max_depth=4)
    except IntegrityError as error:
        raise _malformed(path, f"{error.what}: {error.why}") from error
    if not isinstance(entries, dict):
        raise _malformed(path, "its header is not an object")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _malformed(path, "its __metadata__ does not map text to text")
    return entries


def _tile(path: Path, entries: dict[str, strict_json.JsonValue], start: int, length: int) -> tuple[StoredTensor, ...]:
    tensors = [_tensor(path, name, entry, start) for name, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.size))
    reached = start
    for tensor in tensors:
        if tensor.offset != reached:
            fault = "leaves a gap before" if tensor.offset > reached else "overlaps"
            raise _malformed(path, f"the tensor {tensor.name!r} {fault} its neighbour")
        reached += tensor.size
    if reached > length:
        raise truncated(path, f"its tensors need {reached:,} bytes, and the file has {length:,}")
    if reached < length:
        raise _malformed(path, f"{length - reached:,} bytes after the last tensor belong to none")
    return tuple(tensors)


def _tensor(path: Path, name: str, entry: strict_json.JsonValue, start: int) -> StoredTensor:
    if not 1 <= len(name) <= _MAX_NAME:
        raise _malformed(path, f"a tensor's name has {len(name):,} characters; 1 to {_MAX_NAME} are allowed")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _malformed(path, f"the entry of {name!r} is not exactly dtype, shape and data_offsets")
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _malformed(path, f"the tensor {name!r} has the unknown dtype {str(dtype)[:40]!r}")
    shape = _integers(path, name, entry["shape"])
    offsets = _integers(path, name, entry["data_offsets"])
    if len(shape) > _MAX_RANK or len(offsets) != 2:
        raise _malformed(path, f"the tensor {name!r} has {len(shape)} dimensions and {len(offsets)} offsets")
    bits = math.prod(shape) * BITS[dtype]
    if bits % 8 or offsets[1] - offsets[0] != bits // 8:
        raise _malformed(path, f"the tensor {name!r} does not have the size that its shape {list(shape)} asks for")
    return StoredTensor(name, dtype, shape, path, start + offsets[0], bits // 8)


def _integers(path: Path, name: str, value: strict_json.JsonValue) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise _malformed(path, f"the shape or offsets of {name!r} are not a list")
    numbers = tuple(item for item in value if isinstance(item, int) and not isinstance(item, bool) and item >= 0)
    if len(numbers) != len(value):
        raise _malformed(path, f"the shape or offsets of {name!r} are not all natural numbers")
    return numbers


def _malformed(path: Path, why: str) -> IntegrityError:
    return IntegrityError("malformed-safetensors", f"{path} is not an acceptable safetensors file", why=why)
