"""Files that are not models, or not quite: each is refused with its own code, and the error names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from patchpm.errors import CannotError, ExitCode, IntegrityError, PatchpmError
from patchpm.model.fingerprint import fingerprint
from tests.model import model_files
from tests.model.model_files import entry

_PAIR = {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 8, 16)}


def _twice() -> bytes:
    text = json.dumps({"a": entry("F32", [2], 0, 8)})
    return (text[:-1] + "," + text[1:]).encode()


BAD_HEADERS: dict[str, tuple[str, dict[str, Any] | bytes, bytes]] = {
    "duplicate tensor": ("stands twice", _twice(), bytes(8)),
    "duplicate field": (
        "stands twice",
        b'{"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}',
        bytes(8),
    ),
    "overlap": ("overlaps", _PAIR | {"b": entry("F32", [2], 4, 12)}, bytes(16)),
    "same place": ("overlaps", _PAIR | {"b": entry("F32", [2], 0, 8)}, bytes(8)),
    "hole": ("gap", _PAIR | {"b": entry("F32", [2], 12, 20)}, bytes(20)),
    "hole at the start": ("gap", {"a": entry("F32", [2], 4, 12)}, bytes(12)),
    "trailing bytes": ("belong to none", _PAIR, bytes(17)),
    "size of another shape": ("size", {"a": entry("F32", [3], 0, 8)}, bytes(8)),
    "backwards": ("size", {"a": entry("F32", [2], 8, 0)}, bytes(8)),
    "half a byte": ("size", {"a": entry("F4", [1], 0, 0)}, b""),
    "unknown dtype": ("unknown dtype", {"a": entry("Q4", [2], 0, 8)}, bytes(8)),
    "dtype no text": ("unknown dtype", {"a": entry(["F32"], [2], 0, 8)}, bytes(8)),  # type: ignore[arg-type]
    "negative dimension": ("natural", {"a": entry("F32", [-2], 0, 8)}, bytes(8)),
    "dimension true": ("natural", {"a": entry("F32", [True, 2], 0, 8)}, bytes(8)),
    "dimension 2.0": ("natural", {"a": entry("F32", [2.0], 0, 8)}, bytes(8)),
    "dimension of 10^18 in nothing": ("2**53", {"a": entry("F32", [0, 10**18], 0, 0)}, b""),
    "too many dimensions": ("dimensions", {"a": entry("F32", [1] * 17, 0, 4)}, bytes(4)),
    "three offsets": ("offsets", {"a": entry("F32", [2], 0, 8) | {"data_offsets": [0, 4, 8]}}, bytes(8)),
    "offsets no list": ("list", {"a": entry("F32", [2], 0, 8) | {"data_offsets": "0-8"}}, bytes(8)),
    "field too many": ("exactly", {"a": entry("F32", [2], 0, 8) | {"note": 1}}, bytes(8)),
    "field missing": ("exactly", {"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "entry no object": ("exactly", {"a": [1]}, bytes(8)),
    "endless name": ("characters", {"a" * 513: entry("F32", [2], 0, 8)}, bytes(8)),
    "name empty": ("characters", {"": entry("F32", [2], 0, 8)}, bytes(8)),
    "metadata no object": ("__metadata__", {"__metadata__": "x"}, b""),
    "metadata holds a number": ("__metadata__", {"__metadata__": {"x": 1}}, b""),
    "leading space": ("brace", b" " + json.dumps(_PAIR).encode(), bytes(16)),
    "no object": ("brace", b"[]", b""),
    "two documents": ("JSON", b"{}{}", b""),
    "not UTF-8": ("JSON", b'{"\xff": 1}', b""),
    "unpaired surrogate": ("surrogate", {"\ud800": entry("F32", [2], 0, 8)}, bytes(8)),
    "NaN": ("NaN", b'{"a": NaN}', b""),
    "deep": ("deep", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b""),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_hostile_header_is_refused(tmp_path: Path, name: str) -> None:
    why, header, data = BAD_HEADERS[name]
    with pytest.raises(IntegrityError) as caught:
        fingerprint(model_files.raw_folder(tmp_path / "m", header, data))
    assert caught.value.code == "malformed-safetensors"
    assert str(tmp_path / "m" / "model.safetensors") in caught.value.what
    assert why in caught.value.why


def _claims_too_long_a_header(path: Path) -> Path:
    return model_files.raw_folder(path, {}, bytes(100), claimed=200)


def _data_cut_off(path: Path) -> Path:
    return model_files.raw_folder(path, _PAIR, bytes(15))


def _shorter_than_a_header(path: Path) -> Path:
    folder = model_files.raw_folder(path, {})
    (folder / "model.safetensors").write_bytes(b"\1\0\0")
    return folder


def _shard_cut_off(path: Path) -> Path:
    folder = model_files.folder(path, model_files.tensors(), shards=2)
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-1])
    return folder


def _header_of_2_to_the_63(path: Path) -> Path:
    return model_files.raw_folder(path, {}, claimed=2**63)


def _header_over_the_cap(path: Path) -> Path:
    return model_files.raw_folder(path, {}, claimed=32 * 1024 * 1024 + 1)


def _shard_missing(path: Path) -> Path:
    folder = model_files.folder(path, model_files.tensors(), shards=3)
    sorted(folder.glob("*.safetensors"))[2].unlink()
    return folder


def _index(weight_map: Any) -> Callable[[Path], Path]:
    def build(path: Path) -> Path:
        folder = model_files.folder(path, model_files.tensors(), shards=2)
        model_files.write_index(folder, weight_map)
        return folder

    return build


def _index_without(name: str) -> Callable[[Path], Path]:
    def build(path: Path) -> Path:
        folder = model_files.folder(path, model_files.tensors(), shards=2)
        index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
        del index[name]
        model_files.write_index(folder, index)
        return folder

    return build


def _tensor_in_two_shards(path: Path) -> Path:
    from safetensors.torch import save_file

    folder = model_files.folder(path, model_files.tensors(), shards=2)
    for shard in folder.glob("*.safetensors"):
        save_file(model_files.tensors(), shard)
    return folder


def _index_no_json(path: Path) -> Path:
    folder = model_files.folder(path, model_files.tensors(), shards=2)
    (folder / "model.safetensors.index.json").write_text("{")
    return folder


def _config(text: str | None) -> Callable[[Path], Path]:
    def build(path: Path) -> Path:
        folder = model_files.folder(path, model_files.tensors())
        (folder / "config.json").unlink()
        if text is not None:
            (folder / "config.json").write_text(text)
        return folder

    return build


def _pickle_only(path: Path) -> Path:
    path.mkdir()
    torch.save(model_files.tensors(), path / "pytorch_model.bin")
    return path


def _empty_folder(path: Path) -> Path:
    path.mkdir()
    return path


def _nothing(path: Path) -> Path:
    return path


def _single_file(path: Path) -> Path:
    return model_files.folder(path, model_files.tensors()) / "model.safetensors"


def _twice_the_weights(path: Path) -> Path:
    folder = model_files.folder(path, model_files.tensors(), shards=2)
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def _adapter_beside(path: Path) -> Path:
    folder = model_files.folder(path, model_files.tensors())
    (folder / "adapter_config.json").write_text("{}")
    return folder


def _no_tensors(path: Path) -> Path:
    return model_files.raw_folder(path, {"__metadata__": {"format": "pt"}})


BAD_MODELS: dict[str, tuple[str, type[PatchpmError], str, Callable[[Path], Path]]] = {
    "claims too long a header": ("truncated-weights", IntegrityError, "model.safetensors", _claims_too_long_a_header),
    "data cut off": ("truncated-weights", IntegrityError, "model.safetensors", _data_cut_off),
    "shorter than a header": ("truncated-weights", IntegrityError, "model.safetensors", _shorter_than_a_header),
    "shard cut off": ("truncated-weights", IntegrityError, "model-00002-of-00002.safetensors", _shard_cut_off),
    "header of 2^63": ("malformed-safetensors", IntegrityError, "model.safetensors", _header_of_2_to_the_63),
    "header over the cap": ("malformed-safetensors", IntegrityError, "model.safetensors", _header_over_the_cap),
    "shard missing": ("shard-missing", IntegrityError, "model-00003-of-00003.safetensors", _shard_missing),
    "shard outside": ("malformed-index", IntegrityError, "../x.safetensors", _index({"a": "../x.safetensors"})),
    "shard absolute": ("malformed-index", IntegrityError, "/x.safetensors", _index({"a": "/x.safetensors"})),
    "shard a pickle": ("malformed-index", IntegrityError, "x.bin", _index({"a": "x.bin"})),
    "shard a number": ("malformed-index", IntegrityError, "index.json", _index({"a": 1})),
    "shard with a NUL": ("malformed-index", IntegrityError, "index.json", _index({"a": "\0.safetensors"})),
    "index empty": ("malformed-index", IntegrityError, "index.json", _index({})),
    "index a list": ("malformed-index", IntegrityError, "index.json", _index([])),
    "index no JSON": ("malformed-index", IntegrityError, "index.json", _index_no_json),
    "tensor not in the index": ("malformed-index", IntegrityError, "'b'", _index_without("b")),
    "tensor in two shards": ("malformed-index", IntegrityError, "model-00001", _tensor_in_two_shards),
    "config no JSON": ("malformed-config", IntegrityError, "config.json", _config("]")),
    "config a list": ("malformed-config", IntegrityError, "config.json", _config("[]")),
    "config without a width": ("malformed-config", IntegrityError, "config.json", _config("{}")),
    "config of width true": ("malformed-config", IntegrityError, "config.json", _config('{"hidden_size": true}')),
    "config says it twice": (
        "malformed-config",
        IntegrityError,
        "hidden_size",
        _config('{"hidden_size":1,"hidden_size":2}'),
    ),
    "config deep": ("malformed-config", IntegrityError, "config.json", _config("[" * 100_000)),
    "config missing": ("no-config", CannotError, "config.json", _config(None)),
    "pickle only": ("pickled-weights", CannotError, "pickle", _pickle_only),
    "empty folder": ("no-weights", CannotError, "model.safetensors", _empty_folder),
    "no tensors": ("no-weights", CannotError, "tensor", _no_tensors),
    "single file": ("no-weights", CannotError, "model.safetensors", _single_file),
    "nothing": ("model-not-found", CannotError, "there is no", _nothing),
    "twice the weights": ("ambiguous-weights", CannotError, "model.safetensors.index.json", _twice_the_weights),
    "adapter beside": ("adapter-in-folder", CannotError, "adapter_config.json", _adapter_beside),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_what_is_no_model_is_refused(tmp_path: Path, name: str) -> None:
    code, kind, told, build = BAD_MODELS[name]
    with pytest.raises(kind) as caught:
        fingerprint(build(tmp_path / "m"))
    assert caught.value.code == code
    assert told in str(caught.value)
    assert caught.value.exit_code == (ExitCode.INTEGRITY if kind is IntegrityError else ExitCode.CANNOT)


def test_a_folder_that_is_named_like_the_weights_is_none(tmp_path: Path) -> None:
    folder = model_files.folder(tmp_path / "m", model_files.tensors())
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    with pytest.raises(CannotError) as caught:
        fingerprint(folder)
    assert caught.value.code == "no-weights"


def test_an_io_error_while_hashing_is_an_error_with_the_file_s_name(tmp_path: Path) -> None:
    from patchpm.model.stored_tensor import StoredTensor, hash_tensors

    gone = StoredTensor("w", "F32", (2,), tmp_path / "gone.safetensors", 0, 8)
    with pytest.raises(CannotError) as caught:
        hash_tensors([gone], bf16=True)
    assert caught.value.code == "unreadable-file"
    assert "gone.safetensors" in caught.value.what


def test_a_file_that_shrinks_while_it_is_hashed_is_cut_off(tmp_path: Path) -> None:
    from patchpm.model.stored_tensor import StoredTensor, hash_tensors

    (tmp_path / "w").write_bytes(bytes(100))
    tensors = [StoredTensor(f"w{number}", "U8", (64,), tmp_path / "w", 64, 64) for number in range(50)]
    with pytest.raises(IntegrityError) as caught:
        hash_tensors(tensors, bf16=True)
    assert caught.value.code == "truncated-weights"
