"""`patchpm verify --endpoint`, from the lock of a project to the exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from patchpm.guard.attestation import ServedPatch, Serving
from patchpm.guard.reference_json import FILE, write_references
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.trust.private_keys import generate
from tests.guard.conftest import Locked
from tests.guard.openai_server import Server
from tests.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def project(world: World, locked: Locked) -> World:
    """A project whose lock and probes are for the tiny model's set, as far as digests go."""
    world.publish()
    world.started("acme/toxicity")
    (base,), (composition,) = world.lock.bases, world.lock.compositions
    assert base.fingerprint.tensors is not None
    made = replace(locked.reference, set=composition.digest, base=base.fingerprint.tensors)
    (world.project / FILE).write_bytes(write_references([made]))
    return world


def test_a_right_server_ends_with_0_and_a_stripped_one_with_4(project: World, locked: Locked) -> None:
    with Server(locked.patches).running() as url:
        right = project.run("verify", "--endpoint", url)
    assert right.code == 0
    assert "the server has the locked patch set" in right.out
    with Server().running() as url:
        stripped = project.run("verify", "--endpoint", url, "--json")
    assert stripped.code == 4
    assert stripped.json["verdict"] == "stripped"
    assert stripped.json["prompt_tokens"] == "without-prefix"


def test_a_lock_and_probes_elsewhere_can_be_named(project: World, locked: Locked) -> None:
    lock = str(project.project / "patchpm.lock")
    with Server(locked.patches).running() as url:
        assert project.run("verify", "--endpoint", url, "--lock", lock, "--project", "/nowhere").code == 0


def test_the_statement_of_a_server_is_checked(project: World, locked: Locked) -> None:
    key = generate()
    (composition,), (release,) = project.lock.compositions, project.lock.releases
    patch = ServedPatch(release.name, release.version, release.prefix.digest)
    said = Serving(locked.reference.base, composition.anchor, (patch,), "tiny 1", None, datetime.now(UTC), None)
    other = ServedPatch(PatchName.parse("acme/other"), Version.parse("1.0.0"), release.prefix.digest)
    with Server(locked.patches, statement=said, signer=key).running() as url:
        good = project.run("verify", "--endpoint", url, "--endpoint-key", str(key.public), "--json")
        forged = project.run("verify", "--endpoint", url, "--endpoint-key", str(generate().public), "--json")
        unchecked = project.run("verify", "--endpoint", url, "--json")
    with Server(locked.patches, statement=replace(said, patches=(other,)), signer=key).running() as url:
        another = project.run("verify", "--endpoint", url, "--json")
    with Server(locked.patches).running() as url:
        silent = project.run("verify", "--endpoint", url, "--endpoint-key", str(key.public), "--json")
    assert [one.code for one in (good, forged, unchecked, another, silent)] == [0, 4, 0, 4, 4]
    assert [one.json["statement"]["status"] for one in (good, forged, unchecked, another, silent)] == [
        "pass", "fail", "skip", "fail", "fail",
    ]  # fmt: skip


def test_probes_of_another_lock_are_stale(project: World) -> None:
    project.publish(version="1.1.0")
    project.ok("update")
    assert project.run("verify", "--endpoint", "http://127.0.0.1:1", "--json").error["code"] == "stale-probes"
    (project.project / FILE).unlink()
    assert project.run("verify", "--endpoint", "http://127.0.0.1:1", "--json").error["code"] == "no-probes"


def test_a_server_that_is_not_there_is_a_network_error(project: World) -> None:
    found = project.run("verify", "--endpoint", "http://127.0.0.1:1", "--json")
    assert found.code == 5
    assert found.error["code"] == "unreachable"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://name:secret@host", "http://h?x=1"])
def test_what_is_no_address_of_a_server_is_a_usage_error(project: World, url: str) -> None:
    assert project.run("verify", "--endpoint", url).code == 2


def test_damaged_probes_are_an_error_and_no_traceback(project: World) -> None:
    (project.project / FILE).write_text(json.dumps({"format": "patchpm-probes-v1", "references": [{}]}))
    found = project.run("verify", "--endpoint", "http://127.0.0.1:1", "--json")
    assert found.code == 4
    assert found.error["code"] == "malformed-probes"
