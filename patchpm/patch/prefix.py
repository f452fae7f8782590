"""Reading and writing `prefix.safetensors`, by patchpm's own strict reader.

safetensors 0.8.0 accepts duplicate tensor keys, path-like names, huge metadata, empty tensors without number, and
NaN. So the bytes are decided upon here, before any library sees them, and a reader in another language needs only
this page:

    8 bytes   header length H, unsigned little-endian, 2 <= H <= 4096
    H bytes   JSON {"prefix": {"dtype": ..., "shape": [tokens, hidden_size], "data_offsets": [0, n]}}, padded by spaces
    n bytes   the values, little-endian, row by row; the file ends here
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from patchpm.errors import IntegrityError, UsageError
from patchpm.patch import strict_json
from patchpm.patch.manifest import DTYPES, MAX_TOKENS, Prefix
from patchpm.patch.release import MAX_BYTES, PREFIX

_MAX_HEADER = 4096
_MAX_WIDTH = 65_536


@dataclass(frozen=True, slots=True)
class PrefixMatrix:
    """The learned matrix as raw numbers: checked, finite, of the shape that the manifest names."""

    dtype: str
    """One of `DTYPES`."""
    tokens: int
    hidden_size: int
    data: bytes
    """`tokens * hidden_size` little-endian values, row by row."""

    def rows(self) -> list[tuple[float, ...]]:
        """The rows as Python floats."""
        values = _floats(self.dtype, self.data)
        width = self.hidden_size
        return [tuple(values[start : start + width]) for start in range(0, len(values), width)]

    def norms(self) -> tuple[float, ...]:
        """Euclidean norm of each row."""
        return tuple(math.hypot(*row) for row in self.rows())


def read_prefix(data: bytes, prefix: Prefix, hidden_size: int) -> PrefixMatrix:
    """Read the file of a release against what its signed manifest says.

    Args:
        data: The whole file.
        prefix: The manifest's description.
        hidden_size: Width of the base model's embedding.

    Raises:
        IntegrityError: `malformed-prefix` where file and manifest differ in anything, or a value is not finite.
    """
    matrix = inspect_prefix(data)
    found = (matrix.dtype, matrix.tokens, matrix.hidden_size)
    if found != (prefix.dtype, prefix.tokens, hidden_size):
        raise _malformed(
            f"it is {matrix.dtype} of {matrix.tokens} x {matrix.hidden_size}; "
            f"the manifest means {prefix.dtype} of {prefix.tokens} x {hidden_size}"
        )
    return matrix


def inspect_prefix(data: bytes) -> PrefixMatrix:
    """Read a file that has no manifest yet, as a vendor's tool does before writing one.

    Raises:
        IntegrityError: `malformed-prefix`.
    """
    entry, values = _split(data)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _malformed("its header does not describe a tensor")
    dtype, shape = entry["dtype"], entry["shape"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _malformed(f"its numbers are {dtype!r}, not one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or len(shape) != 2:
        raise _malformed("its tensor is not a matrix")
    tokens, width = shape
    if type(tokens) is not int or type(width) is not int:
        raise _malformed("its shape is not made of integers")
    if not 1 <= tokens <= MAX_TOKENS or not 1 <= width <= _MAX_WIDTH:
        raise _malformed(f"its shape is {tokens} x {width}; at most {MAX_TOKENS} x {_MAX_WIDTH:,} is allowed")
    offsets = entry["data_offsets"]
    if (
        offsets != [0, len(values)]
        or any(type(offset) is not int for offset in offsets)
        or len(values) != tokens * width * DTYPES[dtype]
    ):
        raise _malformed("its offsets do not cover the file exactly")
    return _finite(PrefixMatrix(dtype, tokens, width, values))


def write_prefix(matrix: PrefixMatrix) -> bytes:
    """Write the file; the same matrix always gives the same bytes.

    Raises:
        UsageError: `invalid-prefix` for a matrix that no reader would take.
    """
    size = matrix.tokens * matrix.hidden_size * DTYPES[matrix.dtype]
    if len(matrix.data) != size or not 1 <= matrix.tokens <= MAX_TOKENS:
        raise UsageError("invalid-prefix", f"a prefix has 1 to {MAX_TOKENS} rows and {size:,} bytes of numbers here")
    entry: strict_json.JsonValue = {
        "prefix": {"dtype": matrix.dtype, "shape": [matrix.tokens, matrix.hidden_size], "data_offsets": [0, size]}
    }
    header = strict_json.compact(entry)
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + matrix.data


def _split(data: bytes) -> tuple[strict_json.JsonValue, bytes]:
    if len(data) > MAX_BYTES[PREFIX]:
        raise _malformed(f"it has {len(data):,} bytes, and at most {MAX_BYTES[PREFIX]:,} are allowed")
    if len(data) < 8:
        raise _malformed("it ends before its header")
    (length,) = struct.unpack_from("<Q", data)
    if length > _MAX_HEADER or 8 + length > len(data):
        raise _malformed(f"its header of {length:,} bytes is over {_MAX_HEADER:,} or over the file's end")
    header = data[8 : 8 + length]
    if not header.startswith(b"{"):
        raise _malformed("its header does not start with {")
    parsed = strict_json.loads(header, source=f"the header of {PREFIX}", max_bytes=_MAX_HEADER, max_depth=4)
    if not isinstance(parsed, dict) or set(parsed) != {"prefix"}:
        raise _malformed("its header must name exactly one tensor, prefix, and nothing else")
    return parsed["prefix"], data[8 + length :]


def _finite(matrix: PrefixMatrix) -> PrefixMatrix:
    # An exponent of all ones is infinite or NaN. It is read off the top byte of each value, so that no value is
    # unpacked. For F32 and BF16 the exponent's last bit lies in the next byte: values beyond 1.7e38 are refused along
    # with infinity.
    width = DTYPES[matrix.dtype]
    if len(matrix.data) != matrix.tokens * matrix.hidden_size * width:
        raise _malformed("its numbers do not fill its shape")
    top = matrix.data[width - 1 :: width]
    mask = 0x7C if matrix.dtype == "F16" else 0x7F
    if any(byte & mask == mask for byte in set(top)):
        raise _malformed("a value is not finite")
    return matrix


def _floats(dtype: str, data: bytes) -> Sequence[float]:
    if dtype == "F16":
        return struct.unpack(f"<{len(data) // 2}e", data)
    if dtype == "BF16":
        wide = bytearray(len(data) * 2)
        wide[2::4], wide[3::4] = data[0::2], data[1::2]
        data = bytes(wide)
    if sys.byteorder == "little":
        return memoryview(data).cast("f").tolist()
    return struct.unpack(f"<{len(data) // 4}f", data)


def _malformed(why: str) -> IntegrityError:
    return IntegrityError("malformed-prefix", f"{PREFIX} is malformed", why=why)
