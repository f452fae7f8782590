from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpm.errors import IntegrityError, UsageError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef, Prefix
from patchpm.patch.prefix import PrefixMatrix, inspect_prefix, read_prefix, write_prefix
from tests.builders import matrix


def described(data: bytes, found: PrefixMatrix) -> Prefix:
    return Prefix(FileRef(len(data), Digest.of(data)), found.tokens, found.dtype, ("system-start",), "")


def file_of(header: object, values: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


ENTRY = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}
VALUES = struct.pack("<2f", 1.0, 2.0)


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_what_is_written_is_read_back(tokens: int, width: int, seed: int) -> None:
    made = matrix(tokens, width, seed)
    data = write_prefix(made)
    assert read_prefix(data, described(data, made), width) == made
    assert inspect_prefix(data) == made
    assert write_prefix(inspect_prefix(data)) == data


def test_the_safetensors_library_reads_what_is_written() -> None:
    from safetensors.numpy import load

    made = matrix(3, 8)
    ((name, tensor),) = load(write_prefix(made)).items()
    assert name == "prefix"
    assert tensor.tobytes() == made.data
    assert tensor.shape == (3, 8)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty file"),
        pytest.param(struct.pack("<Q", 2**63) + b"{}", id="header longer than the file"),
        pytest.param(file_of(b"{" + b" " * 5000 + b"}", b""), id="header over 4 KiB"),
        pytest.param(file_of(b'{"prefix":{},"prefix":{}}', VALUES), id="duplicate tensor key"),
        pytest.param(file_of({"../../etc/x": ENTRY}, VALUES), id="path as tensor name"),
        pytest.param(file_of({"prefix": ENTRY, "other": ENTRY}, VALUES), id="second tensor"),
        pytest.param(file_of({"prefix": ENTRY, "__metadata__": {"a": "b"}}, VALUES), id="metadata"),
        pytest.param(file_of({"prefix": {**ENTRY, "extra": 1}}, VALUES), id="extra field"),
        pytest.param(
            file_of({"prefix": {**ENTRY, "shape": [0, 10**15], "data_offsets": [0, 0]}}, b""), id="empty tensor"
        ),
        pytest.param(file_of({"prefix": {**ENTRY, "data_offsets": [0, 4]}}, VALUES), id="hole at the end"),
        pytest.param(file_of({"prefix": ENTRY}, VALUES + b"\0"), id="trailing byte"),
        pytest.param(file_of({"prefix": ENTRY}, VALUES[:-1]), id="cut off"),
        pytest.param(file_of({"prefix": {**ENTRY, "dtype": "I32"}}, VALUES), id="integers"),
        pytest.param(file_of(b'  {"prefix":' + json.dumps(ENTRY).encode() + b"}", VALUES), id="leading space"),
        pytest.param(file_of({"prefix": ENTRY}, struct.pack("<2f", 1.0, math.nan)), id="NaN"),
        pytest.param(file_of({"prefix": ENTRY}, struct.pack("<2f", -math.inf, 1.0)), id="infinity"),
        pytest.param(
            file_of({"prefix": {**ENTRY, "dtype": "F16", "data_offsets": [0, 4]}}, struct.pack("<2e", 1.0, math.inf)),
            id="F16 infinity",
        ),
        pytest.param(
            file_of({"prefix": {**ENTRY, "dtype": "BF16", "data_offsets": [0, 4]}}, b"\x80\x3f\xc0\x7f"), id="BF16 NaN"
        ),
        pytest.param(file_of(b'{"prefix":' * 1000, VALUES), id="deep nesting"),
    ],
)
def test_a_file_that_safetensors_might_take_is_refused(data: bytes) -> None:
    wanted = Prefix(FileRef(len(data) or 1, Digest.of(data)), 1, "F32", ("system-start",), "")
    readers: list[Callable[[], object]] = [lambda: read_prefix(data, wanted, 2), lambda: inspect_prefix(data)]
    for read in readers:
        with pytest.raises(IntegrityError) as refusal:
            read()
        assert refusal.value.code in ("malformed-prefix", "malformed-json")
        assert "prefix.safetensors" in refusal.value.what


def test_a_file_of_another_shape_than_the_manifest_says_is_refused() -> None:
    data = write_prefix(matrix(3, 8))
    with pytest.raises(IntegrityError, match="malformed"):
        read_prefix(data, described(data, matrix(4, 8)), 8)


def test_row_norms_are_those_of_every_number_type() -> None:
    rows = [(3.0, 4.0), (0.5, 0.0)]
    flat = [value for row in rows for value in row]
    wide = struct.pack("<4f", *flat)
    for dtype, data in {
        "F32": wide,
        "F16": struct.pack("<4e", *flat),
        "BF16": b"".join(wide[start + 2 : start + 4] for start in range(0, 16, 4)),
    }.items():
        assert PrefixMatrix(dtype, 2, 2, data).norms() == (5.0, 0.5)


def test_a_matrix_that_no_reader_takes_is_not_written() -> None:
    with pytest.raises(UsageError):
        write_prefix(PrefixMatrix("F32", 300, 8, bytes(300 * 8 * 4)))
