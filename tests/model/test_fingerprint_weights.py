"""The digests of weights: what changes them and what does not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpm.errors import IntegrityError
from patchpm.model.fingerprint import fingerprint
from patchpm.model.safetensors_file import BITS
from patchpm.patch.fingerprint import Assurance, BaseModel, Fingerprint, Match
from tests.model import model_files


def _of(path: Path) -> Fingerprint:
    return fingerprint(path).fingerprint


def _base(found: Fingerprint) -> BaseModel:
    assert found.tensors is not None
    return BaseModel("tiny", found.tensors, found.bf16, (), (), None, None, found.hidden_size)


def _bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.reshape(-1).view(torch.uint8).tolist())


def test_a_folder_is_hashed_now_and_says_so(tmp_path: Path) -> None:
    measured = fingerprint(model_files.folder(tmp_path / "m", model_files.tensors()))
    assert (measured.kind, measured.assurance, measured.source) == ("safetensors", Assurance.VERIFIED, tmp_path / "m")
    assert measured.hashed == 4 * (16 * 8 + 8 + 24 + 1)
    assert measured.fingerprint.hidden_size == 8
    assert measured.fingerprint.tokenizer is None
    assert measured.fingerprint.template is None
    assert measured.fingerprint.files == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_digests_are_those_that_the_format_describes(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = model_files.tensors(dtype) | {"ids": torch.arange(5)}
    found = _of(model_files.folder(tmp_path / "m", weights))
    text = {
        torch.float32: "F32",
        torch.bfloat16: "BF16",
        torch.int64: "I64",
    }
    exact: list[list[object]] = []
    rounded: list[list[object]] = []
    for name, tensor in sorted(weights.items()):
        kind, shape, stored = text[tensor.dtype], list(tensor.shape), hashlib.sha256(_bits(tensor)).hexdigest()
        exact.append([name, kind, shape, stored])
        half = hashlib.sha256(_bits(tensor.bfloat16())).hexdigest()
        rounded.append([name, kind, shape, stored] if kind == "I64" else [name, shape, half])

    def digest(line: bytes, rows: list[list[object]]) -> str:
        return "sha256:" + hashlib.sha256(line + json.dumps(rows, separators=(",", ":")).encode()).hexdigest()

    assert str(found.tensors) == digest(b"patchpm-weights-v1\n", exact)
    assert str(found.bf16) == digest(b"patchpm-weights-bf16-v1\n", rounded)


def test_a_resharded_copy_has_the_same_tensors(tmp_path: Path) -> None:
    weights = model_files.tensors()
    one = _of(model_files.folder(tmp_path / "one", weights))
    backwards = dict(reversed(weights.items()))
    three = _of(model_files.folder(tmp_path / "three", backwards, shards=3, metadata={"format": "pt"}))
    assert three == one
    assert _base(one).match(three) is Match.TENSORS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_wider_copy_of_a_bf16_file_matches_by_bf16_only(tmp_path: Path, dtype: torch.dtype) -> None:
    original = _of(model_files.folder(tmp_path / "bf16", model_files.tensors(torch.bfloat16)))
    copy = _of(model_files.folder(tmp_path / "wide", model_files.tensors(dtype)))
    assert copy.tensors != original.tensors
    assert _base(original).match(copy) is Match.BF16


def test_numbers_are_rounded_as_torch_rounds_them(tmp_path: Path) -> None:
    source = torch.Generator().manual_seed(1)
    bits = torch.randint(-(2**31), 2**31, (300_000,), generator=source).int()
    numbers = bits.view(torch.float32)
    halves = torch.tensor([0x3F808000, 0x3F818000, 0x3F807FFF, 0x7F7FFFFF, 0x00000001, 0x7F800000], dtype=torch.int32)
    weights = {"any": numbers[~numbers.isnan()], "ties": halves.view(torch.float32)}
    half = {name: tensor.bfloat16() for name, tensor in weights.items()}
    wide = _of(model_files.folder(tmp_path / "wide", weights))
    assert wide.bf16 == _of(model_files.folder(tmp_path / "half", half)).bf16


def test_float16_and_float64_are_rounded_through_float32(tmp_path: Path) -> None:
    source = torch.Generator().manual_seed(2)
    for dtype in (torch.float16, torch.float64):
        weights = {"w": torch.randn(5_000, generator=source, dtype=torch.float64).to(dtype)}
        single = {"w": weights["w"].float()}
        wide = _of(model_files.folder(tmp_path / str(dtype), weights))
        assert wide.bf16 == _of(model_files.folder(tmp_path / f"{dtype} as float32", single)).bf16


def test_every_nan_is_rounded_to_the_same_one(tmp_path: Path) -> None:
    nans = torch.tensor([0x7FC00000, 0x7F800001, -1, 0x7FFFFFFF], dtype=torch.int32).view(torch.float32)
    quiet = torch.full((4,), 0x7FC0, dtype=torch.int16).view(torch.bfloat16)
    wide = _of(model_files.folder(tmp_path / "wide", {"w": nans}))
    assert wide.bf16 == _of(model_files.folder(tmp_path / "half", {"w": quiet})).bf16


def test_a_name_a_shape_or_a_dtype_counts(tmp_path: Path) -> None:
    weights = {"w": torch.zeros(2, 3)}
    variants = {
        "renamed": {"v": torch.zeros(2, 3)},
        "transposed": {"w": torch.zeros(3, 2)},
        "another dtype": {"w": torch.zeros(2, 3, dtype=torch.int32)},
        "one more": weights | {"v": torch.zeros(1)},
        "original": weights,
    }
    found = [_of(model_files.folder(tmp_path / name, tensors)) for name, tensors in variants.items()]
    assert len({one.tensors for one in found}) == len({one.bf16 for one in found}) == len(variants)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = model_files.folder(tmp_path_factory.mktemp("flip") / "m", model_files.tensors(torch.bfloat16))
    file = path / "model.safetensors"
    good, content = _of(path), bytearray(file.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    try:
        found = _of(path)
    except IntegrityError as error:
        assert "model.safetensors" in error.what  # noqa: PT017  # either outcome is right, and both are checked
    else:
        assert _base(good).match(found) is None


def test_every_dtype_of_the_safetensors_library_is_known() -> None:
    from safetensors.torch import _TYPES

    assert {name: dtype.itemsize * 8 for name, dtype in _TYPES.items() if dtype is not None}.items() <= BITS.items()


def test_an_empty_tensor_is_a_tensor(tmp_path: Path) -> None:
    weights = model_files.tensors()
    plain = _of(model_files.folder(tmp_path / "plain", weights))
    more = _of(model_files.folder(tmp_path / "more", weights | {"empty": torch.zeros(0, 4)}))
    assert more.tensors != plain.tensors


def test_the_width_is_found_in_a_nested_configuration(tmp_path: Path) -> None:
    path = model_files.folder(tmp_path / "m", model_files.tensors())
    (path / "config.json").write_text(json.dumps({"text_config": {"hidden_size": 640}}))
    assert _of(path).hidden_size == 640


def test_the_digests_of_one_model_stay_for_ever(tmp_path: Path) -> None:
    weights = {"é": torch.tensor([[1.0, -2.5], [3.140625, 1e-3]]), "ids": torch.arange(3)}
    found = _of(model_files.folder(tmp_path / "m", weights))
    assert (str(found.tensors), str(found.bf16)) == (
        "sha256:5cab8d472427ab5d45b96de233f41e81cdf2877873eba4f5357006abf8667649",
        "sha256:073211468cb9990f7053cab7b54c0f6853f819255c9d77cad445c0335c985a01",
    )
