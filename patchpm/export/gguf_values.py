"""Metadata of a GGUF file as bytes: the few kinds of values that an export writes.

Source: ggml's description of GGUF; all little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

UINT32: Final = 4
INT32: Final = 5
FLOAT32: Final = 6
_STRING: Final = 8
_ARRAY: Final = 9
_FORMS: Final = {UINT32: "I", INT32: "i", FLOAT32: "f"}


def text(value: str) -> bytes:
    """A text with its length before it, as keys, texts and tensor names are stored."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def text_entry(key: str, value: str) -> bytes:
    """An entry that holds a text."""
    return text(key) + struct.pack("<I", _STRING) + text(value)


def number_entry(key: str, value: int) -> bytes:
    """An entry that holds a whole number of 32 bits without a sign."""
    return text(key) + struct.pack("<II", UINT32, value)


def texts_head(key: str, count: int) -> bytes:
    """The start of an entry that holds a list of texts, up to the first of them."""
    return text(key) + struct.pack("<IIQ", _ARRAY, _STRING, count)


def numbers_head(key: str, kind: int, count: int) -> bytes:
    """The start of an entry that holds a list of numbers, up to the first of them."""
    return text(key) + struct.pack("<IIQ", _ARRAY, kind, count)


def numbers(kind: int, values: Sequence[float]) -> bytes:
    """The items of a list of numbers."""
    return struct.pack(f"<{len(values)}{_FORMS[kind]}", *values)
