"""The cache of hashed files: quick where nothing changed, and never believed where anything did."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from patchpm.errors import IntegrityError
from patchpm.model.fingerprint import Measured, fingerprint
from patchpm.model.hash_cache import HashCache
from patchpm.patch.fingerprint import Assurance
from tests.model import model_files

HOUR = 3_600_000_000_000


def _cache(path: Path) -> HashCache:
    """A cache that lives an hour from now, for which the files of a test have settled."""
    return HashCache(path / "hashes", now=lambda: time.time_ns() + HOUR)


def _model(path: Path, *, shards: int = 1) -> Path:
    folder = model_files.folder(path / "m", model_files.tensors(), shards=shards)
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    return folder


def _wait_for_the_clock_of_files() -> None:
    """Two changes within one tick of the kernel's clock may get the same time; real caches wait two seconds."""
    time.sleep(0.02)


def _settled(measured: Measured) -> tuple[Assurance, int]:
    return measured.assurance, measured.hashed


def test_a_second_look_is_cached_and_a_rehash_is_verified(tmp_path: Path) -> None:
    folder, cache = _model(tmp_path), _cache(tmp_path)
    first = fingerprint(folder, cache=cache)
    assert first.assurance is Assurance.VERIFIED
    second = fingerprint(folder, cache=cache)
    assert _settled(second) == (Assurance.CACHED, 0)
    assert second.fingerprint == first.fingerprint
    assert _settled(fingerprint(folder, cache=cache, rehash=True)) == (Assurance.VERIFIED, first.hashed)
    assert _settled(fingerprint(folder)) == (Assurance.VERIFIED, first.hashed)


def test_a_gguf_file_is_cached_whole(tmp_path: Path) -> None:
    path, cache = model_files.gguf_file(tmp_path / "m.gguf", template="t"), _cache(tmp_path)
    first = fingerprint(path, cache=cache)
    second = fingerprint(path, cache=cache)
    assert _settled(second) == (Assurance.CACHED, 0)
    assert second.fingerprint == first.fingerprint


def test_a_change_with_its_time_set_back_is_noticed(tmp_path: Path) -> None:
    folder, cache = _model(tmp_path), _cache(tmp_path)
    before = fingerprint(folder, cache=cache)
    _wait_for_the_clock_of_files()
    file = folder / "model.safetensors"
    times = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    with file.open("r+b") as handle:
        handle.write(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = file.stat()
    assert (after.st_mtime_ns, after.st_size, after.st_ino) == (times.st_mtime_ns, times.st_size, times.st_ino)
    found = fingerprint(folder, cache=cache)
    assert found.hashed == before.hashed
    assert found.fingerprint.tensors != before.fingerprint.tensors


def _touch(folder: Path) -> None:
    os.utime(folder / "model-00001-of-00002.safetensors", ns=(1, 1))


def _replace(folder: Path) -> None:
    shard = folder / "model-00002-of-00002.safetensors"
    shutil.copy2(shard, folder / "copy")
    (folder / "copy").replace(shard)


def _rewrite_index(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text() + "\n")


@pytest.mark.parametrize("change", [_touch, _replace, _rewrite_index])
def test_a_file_of_the_weights_that_was_touched_is_hashed_again(tmp_path: Path, change: Callable[[Path], None]) -> None:
    folder, cache = _model(tmp_path, shards=2), _cache(tmp_path)
    before = fingerprint(folder, cache=cache)
    _wait_for_the_clock_of_files()
    change(folder)
    found = fingerprint(folder, cache=cache)
    assert found.hashed == before.hashed > 0
    assert found.fingerprint == before.fingerprint


def test_another_tokenizer_is_read_although_the_weights_are_known(tmp_path: Path) -> None:
    folder, cache = _model(tmp_path), _cache(tmp_path)
    before = fingerprint(folder, cache=cache)
    _wait_for_the_clock_of_files()
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"b": 0}}}')
    found = fingerprint(folder, cache=cache)
    assert _settled(found) == (Assurance.CACHED, 0)
    assert found.fingerprint.tokenizer != before.fingerprint.tokenizer


def test_a_file_that_changed_just_now_is_not_kept(tmp_path: Path) -> None:
    folder, cache = _model(tmp_path), HashCache(tmp_path / "hashes")
    fingerprint(folder, cache=cache)
    assert fingerprint(folder, cache=cache).assurance is Assurance.VERIFIED
    assert not (tmp_path / "hashes").exists()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: data[:0],
    "cut off": lambda data: data[:-1],
    "one bit": lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    "checksum one bit": lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:],
    "not text": lambda data: b"\xff" * len(data),
    "longer": lambda data: data + b" ",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_record_is_hashed_again(tmp_path: Path, name: str) -> None:
    folder, cache = _model(tmp_path), _cache(tmp_path)
    before = fingerprint(folder, cache=cache)
    records = list(cache.folder.iterdir())
    assert len(records) == 2
    for record in records:
        record.write_bytes(DAMAGE[name](record.read_bytes()))
    found = fingerprint(folder, cache=cache)
    assert _settled(found) == (Assurance.VERIFIED, before.hashed)
    assert fingerprint(folder, cache=cache).assurance is Assurance.CACHED
    assert found.fingerprint == before.fingerprint


def test_only_the_user_can_read_the_cache(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    fingerprint(_model(tmp_path), cache=cache)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (cache.folder, *cache.folder.iterdir())]
    assert modes == [0o700, 0o600, 0o600]


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "hashes").write_text("a file where the folder should be")
    folder, cache = _model(tmp_path), _cache(tmp_path)
    assert fingerprint(folder, cache=cache).fingerprint == fingerprint(folder, cache=cache).fingerprint


def test_many_writers_leave_a_whole_cache(tmp_path: Path) -> None:
    models = [model_files.folder(tmp_path / str(seed), model_files.tensors(seed=seed)) for seed in range(4)]
    cache = _cache(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda path: fingerprint(path, cache=cache), models * 8))
    assert len({one.fingerprint.tensors for one in found}) == 4
    assert all(fingerprint(path, cache=cache).assurance is Assurance.CACHED for path in models)
    assert len(list(cache.folder.iterdir())) == 4


def test_weights_that_change_while_they_are_hashed_are_refused(tmp_path: Path) -> None:
    folder, cache = model_files.folder(tmp_path / "m", {"w": torch.zeros(2**22)}), _cache(tmp_path)

    def write(done: int, total: int) -> None:
        os.utime(folder / "model.safetensors", ns=(1, 1))

    with pytest.raises(IntegrityError) as caught:
        fingerprint(folder, cache=cache, progress=write)
    assert caught.value.code == "files-changed"
    assert not cache.folder.exists()


def test_the_user_s_cache_lies_where_the_platform_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in HashCache.of_user().folder.parents
