"""Installs that are killed, and installs that run at once: real processes, real files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from patchpm.patch.digest import Digest
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


@pytest.mark.slow
def test_200_installs_killed_at_random_instants_leave_nothing_half_written(world: World) -> None:
    published(world)
    fresh = (world.project / "patchpm.toml").read_bytes()
    source = random.Random(0)
    whole = 2.0
    killed = 0
    while killed < 200:
        started = time.monotonic()
        process = subprocess.Popen(INSTALL, cwd=world.project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(source.uniform(0, 1.1) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed += 1
        else:
            # It was done before its time: the machine is quicker than thought, and the next one shall have work again.
            assert process.returncode == 0
            whole = time.monotonic() - started
            world.ok("cache", "clean")
            (world.project / "patchpm.lock").unlink()
            (world.project / "patchpm.toml").write_bytes(fresh)
        sound(world)
    world.ok("install", "bias", "toxicity")
    world.ok("verify")
    sound(world)


def test_16_concurrent_installs_into_one_store_all_work(world: World) -> None:
    published(world)
    projects = []
    for number in range(16):
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
