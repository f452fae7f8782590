"""Any changed byte of anything that patchpm did not just make itself is refused, and the file is named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchpm.errors import IntegrityError
from patchpm.patch.release import FILES
from patchpm.project.installing import Installer
from patchpm.project.lock_toml import write_lock
from patchpm.project.policy_file import load_policy
from patchpm.settings import Folders
from patchpm.store.store import Store
from tests.world import World


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_any_flipped_byte_of_an_installed_release_is_refused_at_load_and_the_file_named(
    world: World, step: int
) -> None:
    world.publish()
    world.started("toxicity")
    installer = _installer(world)
    lock = world.lock
    release = lock.releases[0]
    for name, digest in zip(
        FILES, (release.manifest.digest, release.prefix.digest, release.attestations.digest), strict=True
    ):
        (path,) = (path for path in world.stored() if path.name == digest.hex)
        data = path.read_bytes()
        for place in range(0, len(data), step):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(IntegrityError) as refusal:
                installer.load(lock, "tiny")
            assert name in refusal.value.what
        path.write_bytes(data)
    assert installer.load(lock, "tiny")[1]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_byte_of_any_file_of_a_registry_is_refused_at_install_and_the_file_named(
    world: World, data: st.DataObject
) -> None:
    if not (world.project / "patchpm.toml").exists():
        world.publish()
        world.started()
    path = data.draw(st.sampled_from(_current(world.registry)), label="file")
    sound = path.read_bytes()
    place = data.draw(st.integers(0, len(sound) - 1), label="place")
    bit = data.draw(st.sampled_from([1, 32, 128]), label="bit")
    path.write_bytes(sound[:place] + bytes([sound[place] ^ bit]) + sound[place + 1 :])
    try:
        shutil.rmtree(world.home / "data" / "registries", ignore_errors=True)
        refused = world.run("install", "toxicity", "--json")
        assert refused.code == 4, refused.out + refused.err
        told = refused.error["what"] + refused.error["why"]
        assert path.name in told or (path.name == "1.root.json" and "root files" in told)
        assert not (world.project / "patchpm.lock").exists()
        assert world.stored() == []
    finally:
        path.write_bytes(sound)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_byte_of_a_lock_is_refused_unless_it_is_white_space_or_comment(
    world: World, data: st.DataObject
) -> None:
    path = world.project / "patchpm.lock"
    if not path.exists():
        world.publish()
        world.started("toxicity")
    sound = path.read_bytes()
    before = world.lock
    place = data.draw(st.integers(0, len(sound) - 1))
    path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
    try:
        found = world.run("install", "--frozen", "--json")
        if found.code == 0:
            assert world.lock == before
            comment = place < sound.index(b"\n") + 1
            assert comment or sound[place : place + 1] in b" \n"
        else:
            assert found.code in (3, 4)
    finally:
        path.write_bytes(sound)


def test_a_lock_made_to_lie_consistently_is_still_refused(world: World) -> None:
    world.publish("acme/core", "1.0.0")
    world.publish("acme/bias", "1.0.0", requires={"acme/core": "^1"})
    world.started("bias")
    honest = world.lock
    set_of = honest.compositions[0]
    bias, core = honest.releases
    lies = {
        "other tokens": replace(honest, releases=(replace(bias, tokens=1), core)),
        "other domain": replace(honest, releases=(replace(bias, domain="privacy"), core)),
        "nothing required": replace(honest, releases=(replace(bias, requires=()), core)),
        "a part left out": replace(honest, releases=(bias,), compositions=(replace(set_of, order=set_of.order[:1]),)),
        "other order": replace(honest, compositions=(replace(set_of, order=set_of.order[::-1]),)),
        "other key": replace(honest, releases=(replace(bias, signers=(str(world.operator.public),)), core)),
        "more signatures": replace(honest, releases=(replace(bias, threshold=2), core)),
        "other base": replace(
            honest,
            bases=(
                replace(
                    honest.bases[0],
                    fingerprint=replace(honest.bases[0].fingerprint, tensors=bias.prefix.digest, bf16=None),
                ),
            ),
        ),
    }
    for lie, lock in lies.items():
        (world.project / "patchpm.lock").write_text(write_lock(lock))
        found = world.run("install", "--frozen", "--json")
        assert found.code == 4, f"{lie}: {found.out}{found.err}"


def test_a_release_that_lies_in_the_store_under_a_right_name_is_repaired(world: World) -> None:
    world.publish()
    world.started("toxicity")
    path = world.stored()[0]
    path.write_bytes(b"x")
    assert world.run("verify").code == 4
    assert world.run("cache", "verify").code == 4
    world.ok("cache", "verify", "--repair")
    world.ok("install")
    world.ok("verify")


def _installer(world: World) -> Installer:
    folders = Folders.of_user()
    return Installer(Store(folders.store), load_policy(folders, world.project), datetime.now(UTC))


def _current(registry: Path) -> list[Path]:
    """The files that a new user's install reads: the newest of each role, and the release."""
    newest: dict[str, Path] = {}
    for path in (registry / "metadata").iterdir():
        number, _, role = path.name.partition(".")
        version = int(number) if number.isdigit() else 0
        known = newest.get(role)
        if known is None or version > int(known.name.partition(".")[0]):
            newest[role] = path
    return [*sorted(newest.values()), *sorted(p for p in (registry / "patches").rglob("*") if p.is_file())]
