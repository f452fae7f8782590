"""Good and bad prefixes, each with what a manifest says of it."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from patchpm.patch.prefix import PrefixMatrix, write_prefix


@dataclass(frozen=True)
class Described:
    """A file and its manifest's word: what `prefix` and `base.hidden_size` say."""

    data: bytes
    dtype: str = "F32"
    tokens: int = 2
    hidden_size: int = 3

    def to_json(self) -> dict[str, object]:
        """As `described.json` holds it."""
        return {"dtype": self.dtype, "tokens": self.tokens, "hidden_size": self.hidden_size}


_F32: Final = struct.pack("<6f", 1, -0.5, 0, 2.0**-126, -3, 0.1)
_F16: Final = struct.pack("<6e", 1, -0.5, 0, 2.0**-24, -3, 65504)
_BF16: Final = bytes.fromhex("803f 00bf 0080 0100 40c0 7f7e")


def good() -> dict[str, Described]:
    """File name to file."""
    return {
        "f32.safetensors": Described(write_prefix(PrefixMatrix("F32", 2, 3, _F32))),
        "f16.safetensors": Described(write_prefix(PrefixMatrix("F16", 2, 3, _F16)), "F16"),
        "bf16.safetensors": Described(write_prefix(PrefixMatrix("BF16", 2, 3, _BF16)), "BF16"),
        "one-row.safetensors": Described(write_prefix(PrefixMatrix("F32", 1, 6, _F32)), "F32", 1, 6),
        "256-rows.safetensors": Described(write_prefix(PrefixMatrix("F16", 256, 1, b"\x00\x3c" * 256)), "F16", 256, 1),
        "loose-header-without-padding.safetensors": Described(_file(json.dumps({"prefix": _ENTRY}))),
        "loose-header-keys-in-another-order.safetensors": Described(
            _file(json.dumps({"prefix": dict(reversed(_ENTRY.items()))}))
        ),
    }


def bad() -> dict[str, Described]:
    """File name to file; each has one fault."""
    whole = write_prefix(PrefixMatrix("F32", 2, 3, _F32))
    header = json.dumps({"prefix": _ENTRY})
    empty = json.dumps({"prefix": _ENTRY, "other": {"dtype": "F32", "shape": [0, 10**15], "data_offsets": [24, 24]}})
    entries: dict[str, dict[str, Any]] = {
        "offsets-with-a-hole": {**_ENTRY, "data_offsets": [4, 28]},
        "offsets-beyond-the-end": {**_ENTRY, "data_offsets": [0, 28]},
        "offsets-backwards": {**_ENTRY, "data_offsets": [24, 0]},
        "dtype-integer": {**_ENTRY, "dtype": "I32"},
        "dtype-lower-case": {**_ENTRY, "dtype": "f32"},
        "shape-of-three": {**_ENTRY, "shape": [1, 2, 3]},
        "shape-flat": {**_ENTRY, "shape": [6]},
        "shape-transposed": {**_ENTRY, "shape": [3, 2]},
        "shape-overflowing": {**_ENTRY, "shape": [2**53 - 1, 2**53 - 1]},
        "surplus-field-in-entry": {**_ENTRY, "comment": "x"},
        "entry-without-shape": {key: value for key, value in _ENTRY.items() if key != "shape"},
    }
    files = {name: Described(_file(json.dumps({"prefix": entry}))) for name, entry in entries.items()}
    files |= {
        "empty": Described(b""),
        "seven-bytes": Described(whole[:7]),
        "header-only": Described(whole[: -len(_F32)]),
        "last-byte-missing": Described(whole[:-1]),
        "byte-after-the-end": Described(whole + b"\x00"),
        "header-length-2-to-63": Described(struct.pack("<Q", 2**63) + whole[8:]),
        "header-length-beyond-the-end": Described(struct.pack("<Q", len(whole)) + whole[8:]),
        "header-length-zero": Described(struct.pack("<Q", 0) + whole[8:]),
        "header-length-big-endian": Described(whole[7::-1] + whole[8:]),
        "header-of-4097-bytes": Described(_file(header.ljust(4097))),
        "header-starts-with-space": Described(_file(" " + header)),
        "header-not-utf-8": Described(_file(header.replace("prefix", "pr\udcffefix"))),
        "header-cut-off": Described(_file(header[:-1])),
        "header-ends-in-zero-bytes": Described(_file(header + "\x00\x00")),
        "header-is-a-list": Described(_file(json.dumps([_ENTRY]))),
        "header-with-nan": Described(_file(header.replace("[0, 24]", "[NaN, 24]"))),
        "header-nested-deep": Described(_file('{"prefix": ' + "[" * 2000 + "]" * 2000 + "}")),
        "no-tensor": Described(_file("{}") + b""),
        "duplicate-tensor": Described(_file(f'{{"prefix": {json.dumps(_ENTRY)}, {header[1:]}')),
        "duplicate-field-in-entry": Described(_file(header.replace('"shape"', '"shape": [3, 2], "shape"'))),
        "second-tensor-without-elements": Described(_file(empty)),
        "tensor-of-another-name": Described(_file(json.dumps({"Prefix": _ENTRY}))),
        "path-as-name": Described(_file(json.dumps({"../../etc/prefix": _ENTRY}))),
        "metadata": Described(_file(json.dumps({"__metadata__": {"format": "pt"}, "prefix": _ENTRY}))),
        "not-the-rows-of-the-manifest": Described(whole, tokens=1),
        "not-the-width-of-the-manifest": Described(whole, hidden_size=2),
        "not-the-dtype-of-the-manifest": Described(whole, dtype="BF16", hidden_size=6),
        "nan-f32": Described(_number("F32", "0000c07f")),
        "nan-f32-signalling": Described(_number("F32", "010080ff")),
        "infinity-f32": Described(_number("F32", "0000807f")),
        "infinity-f32-negative": Described(_number("F32", "000080ff")),
        "beyond-2-to-127-f32": Described(_number("F32", "0000007f")),
        "nan-f16": Described(_number("F16", "007e"), "F16"),
        "infinity-f16": Described(_number("F16", "00fc"), "F16"),
        "nan-bf16": Described(_number("BF16", "c07f"), "BF16"),
        "infinity-bf16": Described(_number("BF16", "80ff"), "BF16"),
        "beyond-2-to-127-bf16": Described(_number("BF16", "007f"), "BF16"),
    }
    return {f"{name}.safetensors": described for name, described in files.items()}


_ENTRY: Final = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def _file(header: str, data: bytes = _F32) -> bytes:
    encoded = header.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(encoded)) + encoded + data


def _number(dtype: str, last: str) -> bytes:
    """A good file whose last number is of the given bytes."""
    numbers = {"F32": _F32, "F16": _F16, "BF16": _BF16}[dtype]
    raw = bytes.fromhex(last)
    return write_prefix(PrefixMatrix(dtype, 2, 3, numbers[: -len(raw)] + raw))
