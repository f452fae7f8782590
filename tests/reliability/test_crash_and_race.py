"""Installs that are killed, and installs that run at once: real processes, real files."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from patchpm.patch.digest import Digest
from tests.reliability.kills import kill_installs
from tests.world import World

INSTALL = [sys.executable, "-m", "patchpm", "install", "bias", "toxicity"]


def sound(world: World) -> None:
    """Nothing half-written is visible: every file of the store is what its name says, and a lock is a whole lock."""
    for path in world.stored():
        if not path.name.startswith("."):
            assert Digest.of(path.read_bytes()).hex == path.name
    if (world.project / "patchpm.lock").exists():
        assert world.locked == {"acme/bias": "1.0.0", "acme/core": "1.0.0", "acme/toxicity": "1.0.0"}


def published(world: World) -> World:
    world.publish("acme/core", "1.0.0")
    world.publish("acme/bias", "1.0.0", requires={"acme/core": "^1"})
    world.publish("acme/toxicity", "1.0.0")
    return world.started()


@pytest.mark.parametrize(
    "kills", [pytest.param(25, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.stress)]
)
def test_installs_killed_at_random_instants_leave_nothing_half_written(world: World, kills: int) -> None:
    published(world)
    kill_installs(world, INSTALL, kills, lambda: sound(world))
    world.ok("install", "bias", "toxicity")
    world.ok("verify")
    sound(world)


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 16])
def test_concurrent_installs_into_one_store_all_work(world: World, count: int) -> None:
    published(world)
    projects = []
    for number in range(count):
        folder = world.root / f"project-{number}"
        folder.mkdir()
        (folder / "patchpm.toml").write_bytes((world.project / "patchpm.toml").read_bytes())
        projects.append(folder)
    running = [
        subprocess.Popen(INSTALL, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for folder in projects
    ]
    for process in running:
        _, error = process.communicate()
        assert process.returncode == 0, error.decode()
    locks = {(folder / "patchpm.lock").read_bytes() for folder in projects}
    assert len(locks) == 1
    assert len([path for path in world.stored() if not path.name.startswith(".")]) == 9
    sound(world)


def test_a_temporary_file_of_a_killed_writer_is_no_part_of_the_store(world: World) -> None:
    published(world)
    world.ok("install", "toxicity")
    folder = world.stored()[0].parent
    leftover = folder / ".half.0123456789abcdef.patchpm-tmp"
    leftover.write_bytes(b"half")
    os.utime(leftover, (time.time() - 2 * 86400,) * 2)
    assert world.ok("cache", "verify", "--json").json["damaged"] == []
    world.ok("cache", "clean")
    assert world.stored() == []
