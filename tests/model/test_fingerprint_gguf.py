"""GGUF files: the same scheme over the file's own tensors, read by a reader that takes nothing on trust."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpm.errors import CannotError, IntegrityError
from patchpm.model.fingerprint import fingerprint
from patchpm.model.ggml_types import GGML_TYPES
from patchpm.model.gguf_file import read_gguf
from patchpm.patch.fingerprint import Assurance, BaseModel, Match
from tests.model import model_files


def test_a_gguf_file_is_hashed_tensor_by_tensor(tmp_path: Path) -> None:
    path = model_files.gguf_file(tmp_path / "m.gguf", template="{{ messages }}")
    measured = fingerprint(path)
    found = measured.fingerprint
    rows = [
        [
            tensor.name,
            tensor.tensor_type.name,
            [int(size) for size in tensor.shape],
            hashlib.sha256(tensor.data.tobytes()).hexdigest(),
        ]
        for tensor in sorted(gguf.GGUFReader(path).tensors, key=lambda tensor: str(tensor.name))
    ]
    assert [row[1] for row in rows] == ["F32", "F32", "Q8_0"]
    line = b"patchpm-weights-v1\n" + json.dumps(rows, separators=(",", ":")).encode()
    assert str(found.tensors) == f"sha256:{hashlib.sha256(line).hexdigest()}"
    assert (measured.kind, measured.assurance, found.bf16, found.hidden_size) == ("gguf", Assurance.VERIFIED, None, 32)
    assert found.template is not None
    assert str(found.template) == f"sha256:{hashlib.sha256(b'{{ messages }}').hexdigest()}"


def test_a_quantised_copy_matches_only_where_it_is_listed(tmp_path: Path) -> None:
    found = fingerprint(model_files.gguf_file(tmp_path / "q8.gguf")).fingerprint
    plain = fingerprint(model_files.gguf_file(tmp_path / "f32.gguf", quantised=False)).fingerprint
    assert found.tensors is not None
    assert plain.tensors is not None
    base = BaseModel("tiny", plain.tensors, None, (), (), None, None, 32)
    assert base.match(found) is None
    listing = BaseModel("tiny", plain.tensors, None, (found.tensors,), (), None, None, 32)
    assert listing.match(found) is Match.QUANTISED


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_another_alignment_does_not_change_the_tensors(tmp_path: Path, alignment: int) -> None:
    plain = fingerprint(model_files.gguf_file(tmp_path / "plain.gguf")).fingerprint
    spaced = fingerprint(model_files.gguf_file(tmp_path / "spaced.gguf", alignment=alignment)).fingerprint
    assert spaced == plain


def test_every_ggml_type_is_what_the_gguf_package_says() -> None:
    theirs = {int(kind): (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType}
    assert {number: tuple(kind) for number, kind in GGML_TYPES.items()} == theirs


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_flipped_bit_in_the_weights_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = model_files.gguf_file(tmp_path_factory.mktemp("flip") / "m.gguf")
    good, tensors = fingerprint(path).fingerprint, read_gguf(path).tensors
    tensor = data.draw(st.sampled_from(tensors))
    content = bytearray(path.read_bytes())
    content[tensor.offset + data.draw(st.integers(0, tensor.size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert fingerprint(path).fingerprint.tensors != good.tensors


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_header_is_refused_or_is_another_model(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = model_files.gguf_file(tmp_path_factory.mktemp("flip") / "m.gguf", types=[1, 1, 1])
    good, header = fingerprint(path).fingerprint, read_gguf(path)
    content = bytearray(path.read_bytes())
    infos = content.index(b"token_embd.weight") - 8
    end = header.tensors[0].offset
    position = data.draw(st.integers(0, end - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        found = fingerprint(path).fingerprint
    except (IntegrityError, CannotError) as error:
        assert "m.gguf" in error.what  # noqa: PT017  # either outcome is right, and both are checked
    else:
        # What the metadata says beside the tokenizer is no part of the identity, nor is padding.
        assert found.tensors == good.tensors if position < infos else (found != good or position >= end - 32)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_file_cut_off_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = model_files.gguf_file(tmp_path_factory.mktemp("cut") / "m.gguf")
    last = read_gguf(path).tensors[-1]
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, last.offset + last.size - 1))])
    with pytest.raises(IntegrityError) as caught:
        fingerprint(path)
    assert caught.value.code == "truncated-weights"
    assert "m.gguf" in caught.value.what


def _text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _number(key: bytes, value: int, kind: int = 4) -> bytes:
    return _text(key) + struct.pack("<II", kind, value)


def _tensor(name: bytes, shape: tuple[int, ...] = (8,), kind: int = 0, offset: int = 0) -> bytes:
    return _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


_ARCHITECTURE = _text(b"general.architecture") + struct.pack("<I", 8) + _text(b"llama")
_ENTRIES = [_ARCHITECTURE, _number(b"llama.embedding_length", 8)]


def _gguf(
    entries: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    data: int = 32,
    *,
    start: bytes = b"GGUF\3\0\0\0",
    counts: tuple[int, int] | None = None,
) -> bytes:
    entries = _ENTRIES if entries is None else entries
    tensors = [_tensor(b"a")] if tensors is None else tensors
    header = start + struct.pack("<QQ", *(counts or (len(tensors), len(entries)))) + b"".join(entries + tensors)
    return header + bytes(-len(header) % 32) + bytes(data)


BAD_FILES: dict[str, tuple[str, str, bytes]] = {
    "another format": ("malformed-gguf", "letters", b"GGML" + bytes(100)),
    "version 1": ("malformed-gguf", "version", _gguf(start=b"GGUF\1\0\0\0")),
    "big-endian": ("malformed-gguf", "big-endian", _gguf(start=b"GGUF\0\0\0\3")),
    "2^60 entries": ("malformed-gguf", "", _gguf(counts=(1, 2**60))),
    "2^60 tensors": ("malformed-gguf", "0 dimensions", _gguf(counts=(2**60, 2))),
    "key twice": ("malformed-gguf", "twice", _gguf([*_ENTRIES, _ARCHITECTURE])),
    "endless key": ("malformed-gguf", "key", _gguf([*_ENTRIES, _text(b"k" * 65_536)])),
    "text longer than the file": (
        "truncated-weights",
        "header",
        _gguf([*_ENTRIES, _text(b"other") + struct.pack("<IQ", 8, 2**50)]),
    ),
    "template over the cap": (
        "malformed-gguf",
        "chat_template",
        _gguf([*_ENTRIES, _text(b"tokenizer.chat_template") + struct.pack("<IQ", 8, 2**50)]),
    ),
    "list longer than the file": (
        "truncated-weights",
        "items",
        _gguf([*_ENTRIES, _text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2**50)]),
    ),
    "list of lists": ("malformed-gguf", "type 9", _gguf([*_ENTRIES, _text(b"x") + struct.pack("<IIQ", 9, 9, 1)])),
    "unknown type": ("malformed-gguf", "type 13", _gguf([*_ENTRIES, _number(b"x", 0, 13)])),
    "architecture a number": ("malformed-gguf", "not a text", _gguf([_number(b"general.architecture", 1)])),
    "no width": ("malformed-gguf", "embedding_length", _gguf([_ARCHITECTURE])),
    "no architecture": ("malformed-gguf", "embedding_length", _gguf([_number(b"llama.embedding_length", 8)])),
    "tokens a number": (
        "malformed-gguf",
        "list of texts",
        _gguf(
            [
                *_ENTRIES,
                _text(b"tokenizer.ggml.model") + struct.pack("<I", 8) + _text(b"gpt2"),
                _number(b"tokenizer.ggml.tokens", 1),
            ]
        ),
    ),
    "token no UTF-8": (
        "malformed-gguf",
        "UTF-8",
        _gguf([*_ENTRIES, _text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 1) + _text(b"\xff")]),
    ),
    "alignment 0": ("malformed-gguf", "alignment", _gguf([*_ENTRIES, _number(b"general.alignment", 0)])),
    "alignment 24": ("malformed-gguf", "alignment", _gguf([*_ENTRIES, _number(b"general.alignment", 24)])),
    "alignment 2^31": ("malformed-gguf", "alignment", _gguf([*_ENTRIES, _number(b"general.alignment", 2**31)])),
    "tensor twice": ("malformed-gguf", "twice", _gguf(tensors=[_tensor(b"a"), _tensor(b"a", offset=32)], data=64)),
    "overlap": ("malformed-gguf", "overlaps", _gguf(tensors=[_tensor(b"a"), _tensor(b"b")])),
    "hole": ("malformed-gguf", "follow", _gguf(tensors=[_tensor(b"a"), _tensor(b"b", offset=64)], data=96)),
    "trailing bytes": ("malformed-gguf", "belong to none", _gguf(data=33)),
    "five dimensions": ("malformed-gguf", "dimensions", _gguf(tensors=[_tensor(b"a", (1,) * 5)])),
    "unknown number type": ("malformed-gguf", "does not know", _gguf(tensors=[_tensor(b"a", kind=4)])),
    "half a block": ("malformed-gguf", "blocks", _gguf(tensors=[_tensor(b"a", (31,), kind=8)])),
    "size of 2^200": ("truncated-weights", "need", _gguf(tensors=[_tensor(b"a", (2**50,) * 4)])),
    "no tensors": ("no-weights", "", _gguf(tensors=[], data=0)),
    "one of several parts": ("split-gguf", "", _gguf([*_ENTRIES, _text(b"split.count") + struct.pack("<IH", 2, 3)])),
    "empty": ("truncated-weights", "header", b""),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_hostile_file_is_refused(tmp_path: Path, name: str) -> None:
    code, why, content = BAD_FILES[name]
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises((IntegrityError, CannotError)) as caught:
        fingerprint(tmp_path / "m.gguf")
    assert caught.value.code == code
    assert "m.gguf" in caught.value.what
    assert why in caught.value.why


def test_the_builder_of_hostile_files_makes_good_ones_too(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(_gguf())
    assert fingerprint(tmp_path / "m.gguf").fingerprint.hidden_size == 8
