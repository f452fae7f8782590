from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from patchpm.errors import CannotError, NetworkError, PatchpmError
from patchpm.registry.folder import HEAD, FolderHost, open_folder
from patchpm.registry.hosts import open_host
from tests.simulator import refused


@pytest.fixture
def host(tmp_path: Path) -> FolderHost:
    made = FolderHost(tmp_path / "registry")
    made.commit([("metadata/1.root.json", b"root"), (HEAD, b"one")], made.head())
    return made


def test_what_was_committed_is_read_back_and_nothing_else_is_left(host: FolderHost) -> None:
    assert host.read("metadata/1.root.json", 10) == b"root"
    assert host.read("metadata/2.root.json", 10) is None
    assert host.read("nowhere/at/all", 10) is None
    assert sorted(path.name for path in host.root.iterdir()) == [".lock", "metadata"]


def test_a_commit_on_an_old_state_is_refused_and_changes_nothing(host: FolderHost) -> None:
    first = host.head()
    host.commit([(HEAD, b"two")], first)
    with refused("publish-conflict"):
        host.commit([("metadata/x.json", b"lost"), (HEAD, b"three")], first)
    assert host.read(HEAD, 10) == b"two"
    assert host.read("metadata/x.json", 10) is None


def test_a_file_over_its_limit_is_not_read(host: FolderHost) -> None:
    assert host.read("metadata/1.root.json", 4) == b"root"
    with refused("too-large", "1.root.json"):
        host.read("metadata/1.root.json", 3)


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_file_is_an_error_and_never_waited_for(host: FolderHost, kind: str) -> None:
    path = host.root / "metadata" / "odd"
    os.mkfifo(path) if kind == "fifo" else path.mkdir()
    with refused("unreachable", "odd"):
        host.read("metadata/odd", 10)


def test_a_folder_that_is_not_there_is_a_network_error(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="cannot be read"):
        FolderHost(tmp_path / "gone").read(HEAD, 10)


def test_a_read_only_copy_can_be_read_and_not_written(host: FolderHost, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    copy = tmp_path / "copy"
    shutil.copytree(host.root, copy, ignore=shutil.ignore_patterns(".lock"))
    for path in [copy, *copy.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    assert FolderHost(copy).read(HEAD, 10) == b"one"
    with refused("read-only"):
        FolderHost(copy).head()


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_commit_that_was_decided_is_finished_by_whoever_comes_next(host: FolderHost, done: int) -> None:
    # What a killed writer leaves behind after it has moved `done` of its files.
    commit = host.root / ".commit"
    changes = [("metadata/2.root.json", b"new root"), (HEAD, b"two")]
    commit.mkdir()
    (commit / "plan.json").write_text(json.dumps([path for path, _ in changes]))
    for number, (path, data) in enumerate(changes):
        target = host.root / path if number < done else commit / str(number)
        target.write_bytes(data)
    host.head()
    assert host.read("metadata/2.root.json", 10) == b"new root"
    assert host.read(HEAD, 10) == b"two"
    assert not commit.exists()


def test_a_commit_that_was_not_decided_leaves_nothing(host: FolderHost) -> None:
    staging = host.root / ".staging"
    staging.mkdir()
    (staging / "0").write_bytes(b"half")
    host.commit([(HEAD, b"two")], host.head())
    assert host.read(HEAD, 10) == b"two"
    assert not staging.exists()


def test_a_plan_that_leads_out_of_the_registry_is_not_followed(host: FolderHost) -> None:
    commit = host.root / ".commit"
    commit.mkdir()
    (commit / "plan.json").write_text('["../escaped"]')
    (commit / "0").write_bytes(b"x")
    with refused("unsafe-path"):
        host.head()
    assert not (host.root.parent / "escaped").exists()


def test_a_full_disk_is_told_as_such(host: FolderHost, monkeypatch: pytest.MonkeyPatch) -> None:
    expect = host.head()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with refused("disk-full"):
        host.commit([(HEAD, b"two")], expect)
    monkeypatch.undo()
    assert host.read(HEAD, 10) == b"one"
    host.commit([(HEAD, b"three")], host.head())
    assert host.read(HEAD, 10) == b"three"


def test_readers_see_each_file_whole_while_a_writer_is_at_work(host: FolderHost) -> None:
    sizes = [10, 200_000]
    stop = threading.Event()
    seen: set[bytes | None] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(host.read(HEAD, 10**6))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        host.commit([(HEAD, bytes([65 + number % 2]) * sizes[number % 2])], host.head())
    stop.set()
    reader.join()
    assert seen <= {b"one", b"A" * sizes[0], b"B" * sizes[1]}


@pytest.mark.parametrize("url", ["{root}", "file://{root}", "file:{root}", "file://localhost{root}"])
def test_a_folder_is_named_by_path_or_file_address(tmp_path: Path, url: str) -> None:
    assert open_folder(url.format(root=tmp_path)).root == tmp_path
    assert open_folder("file:///a%20b").root == Path("/a b")


@pytest.mark.parametrize("url", ["relative/path", "ftp://example.org/x", "file://host/path", "", "file:"])
def test_other_addresses_are_refused(url: str) -> None:
    with refused("unsupported-registry"):
        open_host(url)


def test_a_busy_registry_is_told_as_such(host: FolderHost, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr("patchpm.registry.folder._LOCK_SECONDS", 0.05)
    with FileLock(host.root / ".lock"), pytest.raises(CannotError) as caught:
        host.head()
    assert caught.value.code == "registry-busy"


@pytest.mark.parametrize("path", ["metadata/../x", "metadata/.x", "/x", "x\n"])
def test_no_commit_writes_to_a_path_that_is_not_one(host: FolderHost, path: str) -> None:
    with pytest.raises(PatchpmError) as caught:
        host.commit([(path, b"x"), (HEAD, b"two")], host.head())
    assert caught.value.code == "unsafe-path"
    assert host.read(HEAD, 10) == b"one"
    host.commit([(HEAD, b"two")], host.head())
