"""The way of a vendor and an operator by commands alone: keys, a release, a registry, and a user of it."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from patchpm.patch.manifest_json import claim_to_json
from patchpm.patch.prefix import write_prefix
from tests.builders import digest, manifest, matrix
from tests.world import WIDTH, World, base_model, model

DESCRIPTION = """\
name = "labx/calm"
version = "0.1.0"
domain = "toxicity"
summary = "Keeps calm"
licence = "Apache-2.0"
base = "Tiny-1"
anchors = ["system-start"]
[compose]
before = ["acme/toxicity"]
"""


def ingredients(folder: Path) -> Path:
    folder.mkdir()
    (folder / "patch.toml").write_text(DESCRIPTION)
    (folder / "prefix.safetensors").write_bytes(write_prefix(matrix(2, WIDTH)))
    training = {"method": "sft", "recipe": str(digest("r")), "teacher": "base", "seed": 1, "code": "x 1", "data": []}
    (folder / "training.json").write_text(json.dumps(training))
    claims = [claim_to_json(claim) for claim in manifest().claims]
    (folder / "claims.json").write_text(json.dumps(claims))
    return folder


def test_a_vendor_packs_and_publishes_and_a_user_installs_by_commands_alone(world: World) -> None:
    for name in ("root", "online", "labx-release"):
        world.ok("key", "generate", name, "--no-passphrase")
    public = world.ok("key", "show", "labx-release").out.strip()
    registry = str(world.root / "labx-registry")
    root = world.ok(
        "registry", "init", "--registry", registry, "--root-key", "root", "--targets-key", "online", "--json"
    ).json["root"]
    world.ok("registry", "add-vendor", "labx", "--public", public, "--registry", registry, "--key", "online")
    ingredients(world.root / "calm")
    release = str(world.root / "release")
    pack = ("pack", str(world.root / "calm"), "--base", str(world.base), "--key", "labx-release", "--out")
    world.ok(*pack, release)
    world.ok(*pack, f"{release}-again")
    for file in Path(release).iterdir():
        assert (Path(f"{release}-again") / file.name).read_bytes() == file.read_bytes()
    publish = ("publish", release, "--registry", registry, "--key", "labx-release", "--key", "online")
    assert "published labx/calm 0.1.0" in world.ok(*publish).out
    assert "very bytes" in world.ok(*publish).out

    world.ok("registry", "add", "labx", registry, "--root", root, "--namespace", "labx")
    assert [row["name"] for row in world.ok("search", "calm", "--json").json] == ["labx/calm"]
    world.started("calm")
    assert world.locked == {"labx/calm": "0.1.0"}
    assert world.ok("verify", release).code == 0
    info = world.ok("info", "labx/calm", "--json").json
    assert info["signers"] == [public]
    assert info["claims"][0]["metric"] == "toxic-rate"

    yank = ("yank", "labx/calm@0.1.0", "--registry", registry, "--key", "labx-release", "--key", "online")
    world.ok(*yank, "--reason", "too calm")
    assert world.ok("outdated", "--json").json[0]["yanked"] == "too calm"
    world.ok(*yank, "--undo")
    assert world.ok("outdated", "--json").json == []


def test_a_key_that_must_sign_and_is_not_there_is_named(world: World) -> None:
    world.ok("key", "generate", "stranger", "--no-passphrase")
    release = world.root / "release"
    release.mkdir()
    for name, data in world.release().items():
        (release / name).write_bytes(data)
    refused = world.run("publish", str(release), "--registry", str(world.registry), "--key", "stranger", "--json")
    assert (refused.code, refused.error["code"]) == (2, "missing-key")


def test_keys_are_encrypted_at_rest_and_open_with_their_passphrase_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchpm.trust.private_keys.BCRYPT_ROUNDS", 1)
    right, wrong = world.root / "right", world.root / "wrong"
    right.write_text("correct horse\n")
    wrong.write_text("battery staple\n")
    world.ok("key", "generate", "mine", "--passphrase-file", str(right))
    path = world.home / "config" / "keys" / "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"OPENSSH PRIVATE KEY" in path.read_bytes()
    ingredients(world.root / "calm")
    pack = [
        "pack",
        str(world.root / "calm"),
        "--base",
        str(world.base),
        "--key",
        "mine",
        "--out",
        str(world.root / "r"),
    ]
    refused = world.run(*pack, "--passphrase-file", str(wrong), "--json")
    assert refused.error["code"] == "wrong-passphrase"
    assert world.run(*pack, "--json").error["code"] == "passphrase-needed"
    world.ok(*pack, "--passphrase-file", str(right))


def test_an_ssh_key_can_be_imported(world: World) -> None:
    path = world.root / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    world.ok("key", "import", str(path), "mine", "--no-passphrase")
    assert world.ok("key", "show", "mine").out == world.ok("key", "show", f"{path}.pub").out
    assert world.run("key", "import", str(path), "mine", "--no-passphrase", "--json").error["code"] == "key-exists"


def test_a_pinned_vendor_key_that_the_registry_changes_is_an_error(world: World) -> None:
    world.publish()
    world.started()
    world.ok("trust", "vendor", "acme", "--key", str(world.operator.public))
    refused = world.run("install", "toxicity", "--json")
    assert (refused.code, refused.error["code"]) == (4, "vendor-key-changed")
    world.ok("trust", "remove", "vendor", "acme")
    world.ok("install", "toxicity")


def test_a_denied_patch_is_not_installed_and_the_reason_given(world: World) -> None:
    world.publish()
    world.started()
    world.ok("trust", "deny", "acme/*", "--reason", "left the company")
    refused = world.run("install", "acme/toxicity", "--json")
    assert refused.code == 1
    assert "left the company" in refused.error["why"]


def test_a_base_given_as_relative_path_is_found_from_the_project(world: World) -> None:
    model(world.project / "models" / "local", seed=3)
    world.publish(for_base=base_model(world.project / "models" / "local"))
    world.ok("init", "--base", "models/local")
    assert 'local = "models/local"' in (world.project / "patchpm.toml").read_text()
    world.ok("install", "toxicity")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(world: World, shell: str) -> None:
    assert "_PATCHPM_COMPLETE" in world.ok("completion", shell).out


def test_rotating_the_root_keeps_its_threshold(world: World) -> None:
    for name in ("one", "two", "three"):
        world.ok("key", "generate", name, "--no-passphrase")
    registry = str(world.root / "other")
    both = ("--root-key", "one", "--root-key", "two")
    world.ok("registry", "init", "--registry", registry, *both, "--root-threshold", "2")
    rotated = ("--root-key", "one", "--root-key", "three", "--key", "two", "--targets-key", "one")
    world.ok("registry", "rotate-root", "--registry", registry, *rotated)
    root = json.loads((Path(registry) / "metadata" / "2.root.json").read_text())
    assert root["signed"]["roles"]["root"]["threshold"] == 2


def test_another_registry_under_a_known_alias_is_refused(world: World) -> None:
    refused = world.run(
        "registry", "add", "corp", str(world.registry), "--root", str(digest("other")), "--namespace", "acme", "--json"
    )
    assert (refused.code, refused.error["code"]) == (4, "registry-changed")


def test_a_domain_that_the_vendor_may_not_make_is_not_chosen(world: World) -> None:
    world.publish("acme/toxicity", "1.0.0")
    world.publish("acme/toxicity", "1.1.0", domain="bias")
    world.started()
    world.ok("trust", "vendor", "acme", "--key", str(world.vendor.public), "--domain", "toxicity")
    world.ok("install", "toxicity@1")
    assert world.locked == {"acme/toxicity": "1.0.0"}


def test_status_says_which_registry_does_not_answer(world: World) -> None:
    world.publish()
    world.started("toxicity")
    world.registry.rename(world.root / "gone")
    status = world.run("status", "--json")
    assert status.code == 6
    assert [row["title"] for row in status.json if row["status"] == "fail"] == ["registry corp"]
