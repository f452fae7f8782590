"""`patchpm probe`, from a registry with several releases to the file beside the lock."""

from __future__ import annotations

import shutil
import struct
from dataclasses import replace
from functools import partial

import pytest

from patchpm.guard.measuring import measure_reference
from patchpm.guard.pool import POOL
from patchpm.guard.reference_json import FILE, load_references
from patchpm.guard.served import OtherRelease
from patchpm.patch.name import PatchName
from tests.builders import matrix
from tests.train.tiny_run import WIDTH, write_base
from tests.world import World

pytestmark = pytest.mark.slow

TOXICITY = "acme/toxicity"


@pytest.fixture
def vendor(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose base is a model that runs, asked few things."""
    world.base = write_base(world.root / "models" / "real-tiny")
    monkeypatch.setattr("patchpm.guard.measuring.measure_reference", partial(measure_reference, pool=POOL[:3]))
    return world


def publish(world: World, version: str, *, seed: int) -> None:
    world.publish(TOXICITY, version, prefix=matrix(4, hidden_size=WIDTH, seed=seed))


def others(world: World) -> list[str]:
    """Which other releases the file knows."""
    (reference,) = load_references(world.project / FILE)
    found = [one.served for one in reference.alternatives if isinstance(one.served, OtherRelease)]
    assert all(one.patch == PatchName.parse(TOXICITY) for one in found)
    return [str(one.version) for one in found]


def test_the_releases_before_and_after_are_among_the_wrong_sets(vendor: World) -> None:
    for seed, version in enumerate(("1.0.0", "1.1.0", "1.2.0", "1.3.0", "2.0.0")):
        publish(vendor, version, seed=seed)
    vendor.started(f"{TOXICITY}@1.2.0")
    told = vendor.ok("probe").out
    assert others(vendor) == ["1.1.0", "2.0.0", "1.0.0"]
    assert f"{TOXICITY} in its release 1.1.0" in told


def test_a_yanked_release_may_still_be_what_a_server_has(vendor: World) -> None:
    publish(vendor, "1.0.0", seed=1)
    publish(vendor, "1.1.0", seed=2)
    vendor.started(f"{TOXICITY}@1.1.0")
    vendor.yank(TOXICITY, "1.0.0")
    vendor.ok("probe")
    assert others(vendor) == ["1.0.0"]


def test_a_release_with_the_same_prefix_cannot_be_told_apart_and_is_none_of_them(vendor: World) -> None:
    publish(vendor, "1.0.0", seed=1)
    publish(vendor, "1.0.1", seed=1)
    vendor.started(f"{TOXICITY}@1.0.1")
    vendor.ok("probe")
    assert others(vendor) == []


def test_a_release_that_cannot_be_fetched_is_told_and_left_out(vendor: World) -> None:
    publish(vendor, "1.0.0", seed=1)
    publish(vendor, "1.1.0", seed=2)
    vendor.started(f"{TOXICITY}@1.1.0")
    shutil.rmtree(vendor.registry)
    told = vendor.ok("probe")
    assert others(vendor) == []
    assert f"{TOXICITY} 1.0.0 is not compared with: the registry cannot be read" in told.err


def test_a_release_with_a_flipped_byte_is_told_and_left_out(vendor: World) -> None:
    publish(vendor, "1.0.0", seed=1)
    publish(vendor, "1.1.0", seed=2)
    vendor.started(f"{TOXICITY}@1.1.0")
    (prefix,) = (vendor.registry / "patches" / TOXICITY / "1.0.0").glob("*/prefix.safetensors")
    data = prefix.read_bytes()
    prefix.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    told = vendor.ok("probe")
    assert others(vendor) == []
    assert f"{TOXICITY} 1.0.0 is not compared with" in told.err


def test_a_registry_that_is_not_to_be_trusted_stops_it_and_nothing_is_written(vendor: World) -> None:
    publish(vendor, "1.0.0", seed=1)
    vendor.started(f"{TOXICITY}@1.0.0")
    timestamp = vendor.registry / "metadata" / "timestamp.json"
    timestamp.write_bytes(timestamp.read_bytes().replace(b"0", b"1"))
    assert vendor.run("probe").code == 4
    assert not (vendor.project / FILE).exists()


def test_a_release_that_answers_like_the_locked_one_is_told_and_left_out(vendor: World) -> None:
    rows = matrix(4, hidden_size=WIDTH, seed=1)
    nearly = replace(rows, data=rows.data[:-4] + struct.pack("<f", struct.unpack("<f", rows.data[-4:])[0] + 1e-6))
    vendor.publish(TOXICITY, "1.0.0", prefix=nearly)
    publish(vendor, "1.1.0", seed=1)
    vendor.started(f"{TOXICITY}@1.1.0")
    told = vendor.ok("probe", "--json")
    assert others(vendor) == []
    assert told.json["not_told_apart"] == [f"{TOXICITY} 1.0.0"]
    assert f"{TOXICITY} 1.0.0 answers so much like the locked one" in told.err
