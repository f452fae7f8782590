from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from patchpm.errors import NetworkError
from patchpm.model.demo_base import NAME, demo_base

CACHE = platformdirs.user_cache_path("patchpm")


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


@pytest.mark.usefixtures("no_index")
def test_a_converted_model_is_used_as_it_is_without_the_index(tmp_path: Path) -> None:
    folder = tmp_path / "models" / NAME
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    assert demo_base(tmp_path) == folder
    assert (folder / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.usefixtures("no_index")
def test_a_conversion_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(NetworkError):
        demo_base(tmp_path)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.real
@pytest.mark.skipif(not (CACHE / "models" / NAME).is_dir(), reason="the base model is not converted yet: make demo")
def test_the_converted_model_is_the_one_that_the_conversion_gives_anywhere() -> None:
    import hashlib

    with (demo_base(CACHE) / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest == "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"
