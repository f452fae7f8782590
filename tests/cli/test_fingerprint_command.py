"""`patchpm fingerprint` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from patchpm.cli.app import run
from patchpm.model.fingerprint import fingerprint
from tests.model import model_files


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))


def test_json_holds_every_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = model_files.folder(tmp_path / "m", model_files.tensors())
    assert run(["fingerprint", str(folder), "--rehash", "--json"]) == 0
    found = fingerprint(folder).fingerprint
    assert json.loads(capsys.readouterr().out) == {
        "source": str(folder),
        "kind": "safetensors",
        "assurance": "verified",
        "hidden_size": 8,
        "tensors": str(found.tensors),
        "bf16": str(found.bf16),
        "tokenizer": None,
        "template": None,
        "files": {},
    }


def test_people_see_the_same_digests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model_files.gguf_file(tmp_path / "m.gguf")
    assert run(["fingerprint", str(path)]) == 0
    out = capsys.readouterr().out
    assert str(fingerprint(path).fingerprint.tensors) in out
    assert "verified" in out


def test_a_model_that_is_not_there_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fingerprint", str(tmp_path / "nothing")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[model-not-found]" in captured.err


def test_a_damaged_model_ends_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = model_files.raw_folder(tmp_path / "m", b"[]")
    assert run(["fingerprint", str(folder)]) == 4
    assert "model.safetensors" in capsys.readouterr().err
