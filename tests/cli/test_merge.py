"""Two people change one project at once: what git makes of it, and what `patchpm lock` makes of that."""

from __future__ import annotations

import subprocess

from tests.world import World


def git(world: World, *arguments: str, check: bool = True) -> int:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=world.project, check=False, capture_output=True, text=True
    )
    assert not check or done.returncode == 0, done.stderr
    return done.returncode


def test_two_branches_that_each_add_a_patch_are_merged_by_lock(world: World) -> None:
    for name in ("bias", "privacy", "toxicity"):
        world.publish(f"acme/{name}", "1.0.0")
    world.started("toxicity")
    git(world, "init", "--initial-branch=main")
    git(world, "add", ".")
    git(world, "commit", "-m", "start")
    git(world, "switch", "-c", "theirs")
    world.ok("install", "bias")
    git(world, "commit", "-am", "bias")
    git(world, "switch", "main")
    world.ok("install", "privacy")
    git(world, "commit", "-am", "privacy")
    world.publish("acme/bias", "1.1.0")
    world.publish("acme/privacy", "1.1.0")

    assert git(world, "merge", "theirs", check=False) == 1
    assert world.run("install", "--frozen").code in (2, 3)
    toml = world.project / "patchpm.toml"
    marks = ("<<<<<<<", "=======", ">>>>>>>")
    toml.write_text("".join(line for line in toml.read_text().splitlines(True) if not line.startswith(marks)))
    lock = world.project / "patchpm.lock"
    assert "<<<<<<<" in lock.read_text()
    assert world.run("install", "--frozen", "--json").error["code"] == "lock-conflict"

    world.ok("lock")
    assert world.locked == {"acme/bias": "1.0.0", "acme/privacy": "1.0.0", "acme/toxicity": "1.0.0"}
    world.ok("install", "--frozen")


def test_the_lock_is_the_same_whatever_the_way_to_it(world: World) -> None:
    for name in ("bias", "toxicity"):
        world.publish(f"acme/{name}", "1.0.0")
    world.started("toxicity")
    world.ok("install", "bias")
    stepwise = (world.project / "patchpm.lock").read_bytes()
    world.ok("remove", "bias", "toxicity")
    world.ok("install", "bias", "toxicity")
    assert (world.project / "patchpm.lock").read_bytes() == stepwise
