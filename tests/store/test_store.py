from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from patchpm.errors import CannotError, IntegrityError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.patch.release import ReleaseFiles
from patchpm.store.store import Store
from patchpm.trust.policy import Policy
from patchpm.trust.release import VerifiedRelease, verify_release
from tests.world import World


def verified(world: World) -> VerifiedRelease:
    return verify_release(
        world.release(), keys=[world.vendor.public], threshold=1, policy=Policy(), now=datetime.now(UTC)
    ).require()


def refs(files: ReleaseFiles) -> list[FileRef]:
    return [FileRef(len(data), Digest.of(data)) for _, data in files.items()]


def test_what_is_put_in_comes_out(world: World, tmp_path: Path) -> None:
    store, release = Store(tmp_path / "store"), verified(world)
    assert store.get(*refs(release.files)) is None
    store.put(release)
    assert store.get(*refs(release.files)) == release.files
    assert store.usage().files == 3


def test_bytes_that_were_not_verified_cannot_be_put_in(world: World, tmp_path: Path) -> None:
    files = world.release()
    with pytest.raises(TypeError):
        VerifiedRelease(files, None, None, frozenset(), None, (), object())  # type: ignore[arg-type]
    assert not (tmp_path / "store").exists()


def test_a_damaged_file_is_found_and_put_right_by_the_next_install(world: World, tmp_path: Path) -> None:
    store, release = Store(tmp_path / "store"), verified(world)
    store.put(release)
    path = next(store.root.glob("sha256/*/*"))
    path.write_bytes(b"other")
    assert list(store.damaged()) == [path]
    with pytest.raises(IntegrityError):
        store.get(*refs(release.files))
    store.put(release)
    assert list(store.damaged()) == []


def test_a_link_in_the_place_of_a_file_is_not_followed(world: World, tmp_path: Path) -> None:
    store, release = Store(tmp_path / "store"), verified(world)
    store.put(release)
    path = next(store.root.glob("sha256/*/*"))
    target = tmp_path / "elsewhere"
    target.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(CannotError, match="cannot be read"):
        store.get(*refs(release.files))
    assert list(store.damaged()) == [path]
    store.discard(path)
    assert target.exists()


def test_a_folder_in_the_place_of_a_file_is_no_release(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (store.root / "sha256" / "aa" / "folder").mkdir(parents=True)
    assert list(store.damaged()) == []
    assert store.clean().files == 0


def test_the_store_is_private_to_the_user(world: World, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.put(verified(world))
    assert store.root.stat().st_mode & 0o077 == 0
