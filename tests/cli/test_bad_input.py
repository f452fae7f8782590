"""What goes wrong for users, end to end: each case has a code and an exit status, and leaves everything as it was."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from patchpm.registry.roles import Lifetimes
from tests.world import World, model


def test_a_model_that_is_not_the_locked_base_is_refused(world: World) -> None:
    world.publish()
    world.started("toxicity")
    shutil.rmtree(world.base)
    model(world.base, seed=1)
    status = world.run("status", "--json")
    assert status.code == 6
    assert any("[base-mismatch]" in row["detail"] for row in status.json)
    refused = world.run("update", "--json")
    assert (refused.code, refused.error["code"]) == (1, "no-release-for-base")


def test_a_base_that_is_not_there_is_named(world: World) -> None:
    refused = world.run("init", "--base", "nowhere", "--json")
    assert (refused.code, refused.error["code"]) == (1, "model-not-found")
    assert not (world.project / "patchpm.toml").exists()


def test_expired_metadata_is_refused(world: World) -> None:
    world.publish()
    world.started()
    world.writer(late=timedelta(days=-400)).refresh()
    refused = world.run("install", "toxicity", "--json")
    assert (refused.code, refused.error["code"]) == (4, "expired-metadata")
    assert "timestamp" in refused.error["what"] + refused.error["why"]
    assert Lifetimes().timestamp < timedelta(days=400)


def test_a_registry_that_cannot_be_reached_is_a_network_error(world: World) -> None:
    world.publish()
    world.started()
    shutil.rmtree(world.registry)
    refused = world.run("install", "toxicity", "--json")
    assert (refused.code, refused.error["code"]) == (5, "unreachable")


def test_without_the_registry_a_lock_still_installs_from_the_store(world: World) -> None:
    world.publish()
    world.started("toxicity")
    shutil.rmtree(world.registry)
    assert world.ok("install", "--frozen", "--offline").code == 0


def test_a_full_disk_is_told_and_leaves_the_project_as_it_was(world: World, tmp_path: Path) -> None:
    world.publish()
    world.started()
    before = sorted(path.name for path in world.project.iterdir())
    with small_disk(world.home / "data" / "store", "size=4k,nr_inodes=64"):
        refused = world.run("install", "toxicity", "--json")
        assert (refused.code, refused.error["code"]) == (1, "disk-full")
    assert sorted(path.name for path in world.project.iterdir()) == before
    world.ok("install", "toxicity")


def test_a_store_that_cannot_be_written_is_told(world: World) -> None:
    world.publish()
    world.started()
    with small_disk(world.home / "data" / "store", "ro"):
        refused = world.run("install", "toxicity", "--json")
        assert (refused.code, refused.error["code"]) == (1, "read-only")
        assert "PATCHPM_HOME" in refused.error["next"]


def test_a_full_store_that_cannot_be_written_is_enough_to_install_from(world: World) -> None:
    world.publish()
    world.started("toxicity")
    store = world.home / "data" / "store"
    kept = world.root / "kept"
    shutil.copytree(store, kept)
    with bound(kept, store):
        world.ok("install", "--frozen")


@pytest.mark.parametrize(
    ("name", "text", "code", "exit_code"),
    [
        ("patchpm.toml", "[bases", "malformed-project", 2),
        ("patchpm.toml", '[bases]\ntiny = "../models/tiny"\n[patches]\n"acme/x" = "??"\n', "malformed-project", 2),
        ("patchpm.lock", "version = 1", "malformed-lock", 4),
        ("patchpm.lock", "\x00", "malformed-lock", 4),
        ("patchpm.lock", "<<<<<<< ours\n=======\n>>>>>>> theirs\n", "lock-conflict", 3),
        ("patchpm-policy.toml", "level = 'skip'", "malformed-policy", 2),
    ],
)
def test_a_malformed_file_is_named(world: World, name: str, text: str, code: str, exit_code: int) -> None:
    world.publish()
    world.started("toxicity")
    (world.project / name).write_text(text)
    refused = world.run("install", "--frozen", "--json")
    assert (refused.code, refused.error["code"]) == (exit_code, code)
    assert name in refused.error["what"]


def test_a_frozen_install_without_a_lock_or_with_a_stale_one_fails(world: World) -> None:
    world.publish()
    world.started()
    assert world.run("install", "--frozen", "--json").error["code"] == "no-lock"
    world.ok("install", "toxicity")
    text = (world.project / "patchpm.toml").read_text()
    (world.project / "patchpm.toml").write_text(text.replace("^1.0.0", "^2"))
    refused = world.run("install", "--frozen", "--json")
    assert (refused.code, refused.error["code"]) == (3, "stale-lock")
    assert world.run("lock", "--check").code == 3


def test_in_ci_a_bare_install_is_frozen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish()
    world.started()
    monkeypatch.setenv("CI", "true")
    assert world.run("install", "--json").error["code"] == "no-lock"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["instal", "x"], "unknown-command"),
        (["install", "--nonsense"], "usage"),
        (["install", "Toxicity"], "invalid-requirement"),
        (["install", "toxicity@"], "invalid-requirement"),
        (["install", "toxicity@one"], "invalid-range"),
        (["list"], "no-lock"),
        (["trust", "deny", "nothing-like-a-pattern", "--reason", "x"], "malformed-policy"),
        (
            ["registry", "add", "corp2", "ftp://x", "--root", "sha256:" + "0" * 64, "--namespace", "a"],
            "unsupported-registry",
        ),
        (["registry", "add", "corp2", "/x", "--root", "123", "--namespace", "a"], "malformed-digest"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong_without_a_traceback(
    world: World, arguments: list[str], code: str
) -> None:
    refused = world.run(*arguments, "--json")
    assert refused.error["code"] == code
    assert refused.code in (2, 3, 4)
    assert "Traceback" not in refused.err


def test_a_bug_is_told_as_one_and_its_trace_goes_to_a_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path) -> None:
        raise ZeroDivisionError(str(folder))

    monkeypatch.setattr("patchpm.cli.list.load_lock", broken)
    found = world.run("list", "--json")
    assert (found.code, found.error["code"]) == (70, "internal")
    trace = Path(found.error["next"].rsplit(" ", 1)[1])
    assert "ZeroDivisionError" in trace.read_text()
    trace.unlink()


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "1" * 5000], ids=["too-deep", "too-many-digits"])
@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("patchpm.toml", "malformed-project"),
        ("patchpm.lock", "malformed-lock"),
        ("patchpm-policy.toml", "malformed-policy"),
    ],
)
def test_toml_that_the_standard_library_stumbles_over_is_malformed(
    world: World, text: str, file: str, code: str
) -> None:
    world.started()
    world.ok("lock")
    (world.project / file).write_text(text)
    assert world.run("install", "--json").error["code"] == code


def test_a_damaged_lock_is_made_anew_only_by_lock_and_keeps_its_versions(world: World) -> None:
    world.publish(version="1.0.0")
    world.started("toxicity@1")
    world.publish(version="1.1.0")
    path = world.project / "patchpm.lock"
    path.write_text(path.read_text().replace("tokens = 3", "tokens = 4", 1))
    for command in (("install",), ("install", "toxicity"), ("update",)):
        assert world.run(*command, "--json").error["code"] == "lock-altered"
    world.ok("lock")
    assert world.locked == {"acme/toxicity": "1.0.0"}
    world.ok("install", "--frozen")


def test_a_policy_that_could_not_be_used_is_not_written(world: World) -> None:
    before = (world.home / "config" / "policy.toml").read_bytes()
    refused = world.run(
        "registry", "add", "builtin", str(world.registry), "--root", str(world.pin), "--namespace", "x", "--json"
    )
    assert refused.error["code"] == "registry-changed"
    assert (world.home / "config" / "policy.toml").read_bytes() == before


def test_the_home_of_an_unknown_user_is_no_model(world: World) -> None:
    refused = world.run("init", "--base", "~nobody-has-this-name/model", "--json")
    assert refused.error["code"] == "model-not-found"


def test_a_group_without_a_command_shows_its_help(world: World) -> None:
    shown = world.run("registry")
    assert shown.code == 2
    assert shown.err.startswith("Usage: patchpm registry")


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """Mount a file system of its own there, real and small or read-only."""
    folder.mkdir(parents=True, exist_ok=True)
    with mounted(["-t", "tmpfs", "-o", options, "tmpfs"], folder):
        yield


@contextmanager
def bound(source: Path, folder: Path) -> Iterator[None]:
    """Show `source` at `folder`, read-only."""
    with mounted(["--bind", str(source)], folder):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield


@contextmanager
def mounted(arguments: list[str], folder: Path) -> Iterator[None]:
    done = subprocess.run(["mount", *arguments, str(folder)], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("this user may not mount file systems, which a real full or read-only disk takes")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
