"""Copying registries between hosts."""

from __future__ import annotations

from pathlib import Path

import pytest
from obstore.store import MemoryStore

from patchpm.errors import PatchpmError
from patchpm.patch.digest import Digest
from patchpm.patch.name import PatchName
from patchpm.registry.bucket import BucketHost
from patchpm.registry.client import RegistryClient
from patchpm.registry.folder import FolderHost
from patchpm.registry.host import Change, Host
from patchpm.registry.transfer import Transferred, transfer
from tests.simulator import MemoryHost, RegistrySimulator, refused


@pytest.fixture(params=["folder", "bucket"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    return FolderHost(tmp_path / "copy") if request.param == "folder" else BucketHost(MemoryStore(), "memory:")


def client(registry: RegistrySimulator, host: Host) -> RegistryClient:
    return RegistryClient(host, "copy", registry.pin, registry.users / "copy", registry.now)


def versions(registry: RegistrySimulator, host: Host) -> list[str]:
    """What a client that pins the original finds in the copy, and can fetch."""
    found = client(registry, host)
    entries = found.entries(PatchName("acme", "toxicity"))
    for entry in entries:
        assert Digest.of(found.fetch(entry).prefix) == entry.prefix.digest
    return [str(entry.version) for entry in entries]


def test_a_copy_serves_clients_that_pin_the_original(registry: RegistrySimulator, target: Host) -> None:
    registry.publish(version="1.1.0")
    registry.add_vendor("beta")
    copied = transfer(registry.host, target, root=registry.pin)
    assert copied.releases == 2
    assert versions(registry, target) == ["1.0.0", "1.1.0"]
    assert client(registry, target).vendors() == ("acme", "beta")


def test_a_second_copy_moves_only_what_is_new(registry: RegistrySimulator, target: Host) -> None:
    first = transfer(registry.host, target)
    assert transfer(registry.host, target) == Transferred(0, 0)
    registry.publish(version="1.1.0")
    again = transfer(registry.host, target)
    assert again.releases == 1
    assert again.bytes < first.bytes + 4000
    assert versions(registry, target) == ["1.0.0", "1.1.0"]


def test_a_yank_reaches_the_copy_without_any_release(registry: RegistrySimulator, target: Host) -> None:
    transfer(registry.host, target)
    name = PatchName("acme", "toxicity")
    (entry,) = registry.client().entries(name)
    registry.writer().yank(name, entry.version, "over-refuses")
    assert transfer(registry.host, target).releases == 0
    (entry,) = client(registry, target).entries(name)
    assert entry.yanked == "over-refuses"


def test_changed_keys_of_the_registry_reach_the_copy(registry: RegistrySimulator, target: Host) -> None:
    transfer(registry.host, target)
    assert versions(registry, target) == ["1.0.0"]
    registry.writer().rotate_root(registry.roles())
    registry.publish(version="1.1.0")
    transfer(registry.host, target)
    assert versions(registry, target) == ["1.0.0", "1.1.0"]


def test_nothing_is_copied_over_another_registry(registry: RegistrySimulator, target: Host, tmp_path: Path) -> None:
    transfer(RegistrySimulator(tmp_path / "other").host, target)
    before = target.head()
    with refused("registry-exists"):
        transfer(registry.host, target)
    assert target.head() == before


def test_rollback_attack_an_older_state_is_not_copied_over_a_newer_one(
    registry: RegistrySimulator, target: Host
) -> None:
    old = MemoryHost(dict(registry.host.files))
    registry.publish(version="1.1.0")
    transfer(registry.host, target)
    with refused("rollback"):
        transfer(old, target)
    assert versions(registry, target) == ["1.0.0", "1.1.0"]


def test_two_places_that_went_on_apart_are_not_merged(registry: RegistrySimulator, target: Host) -> None:
    transfer(registry.host, target)
    fork = MemoryHost(dict(registry.host.files))
    registry.publish(version="1.1.0")
    transfer(registry.host, target)
    registry.host = fork
    registry.publish(version="1.2.0")
    with refused("registry-forked"):
        transfer(fork, target)


def test_a_wrong_root_is_told_before_anything_is_copied(registry: RegistrySimulator, target: Host) -> None:
    with refused("root-mismatch"):
        transfer(registry.host, target, root=Digest.of(b"another"))
    assert target.head() == ""


def test_a_release_with_other_bytes_than_promised_stops_the_copy(registry: RegistrySimulator, target: Host) -> None:
    transfer(registry.host, target)
    registry.publish(version="1.1.0")
    path = next(path for path in registry.host.files if "/1.1.0/" in path and path.endswith(".safetensors"))
    registry.host.files[path] = bytes(len(registry.host.files[path]))
    with refused("wrong-digest", "1.1.0"):
        transfer(registry.host, target)
    assert versions(registry, target) == ["1.0.0"]


def test_a_copy_that_was_cut_before_any_commit_is_finished_by_the_next(
    registry: RegistrySimulator, target: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchpm.registry.transfer._BATCH_BYTES", 1)
    for number in range(1, 4):
        registry.publish(version=f"1.{number}.0")
    for commits in range(5):
        left = commits

        def commit(changes: list[Change], expect: str, target: Host = target) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise PatchpmError("cut", "the copy was cut")
            type(target).commit(target, changes, expect)

        with monkeypatch.context() as patched:
            patched.setattr(target, "commit", commit)
            with refused("cut"):
                transfer(registry.host, target)
        assert target.head() == ""
    assert transfer(registry.host, target).releases == 4
    assert versions(registry, target) == ["1.0.0", "1.1.0", "1.2.0", "1.3.0"]
