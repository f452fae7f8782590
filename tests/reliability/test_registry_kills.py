"""Publishers and installers that are killed at random instants, on every host that is written over a network."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchpm.patch.digest import Digest
from tests.registry.hub_server import HubServer, hub_server
from tests.registry.s3 import new_bucket, s3_server
from tests.registry.test_race import Site, hub_site
from tests.reliability.kills import kill_installs
from tests.world import World

KILLS = pytest.mark.parametrize(
    "kills", [pytest.param(10, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.stress)]
)
INSTALL = [sys.executable, "-m", "patchpm", "install", "toxicity"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    with hub_server(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield f"s3://{new_bucket(environment)}/registry"


def kill_publishers(site: Site, kills: int) -> None:
    """Kill so many publishers, each somewhere between its start and the end of its second release."""
    chance, first, killed = random.Random(0), 0, 0
    confirmed: set[str] = set()
    while killed < kills:
        publisher = site.publisher(f"{site.vendor}/toxicity", first=first, count=3)
        time.sleep(chance.uniform(0.3, 1.5))
        publisher.send_signal(signal.SIGKILL)
        said, _ = publisher.communicate()
        confirmed |= set(said.split())
        killed += publisher.returncode == -signal.SIGKILL
        first = max(int(version.split(".")[2]) for version in confirmed or {"1.0.0"})
        if killed % 10 == 0:
            found = site.versions(f"{site.vendor}/toxicity")
            assert confirmed <= found
    publisher = site.publisher(f"{site.vendor}/toxicity", first=first, count=1)
    _, errors = publisher.communicate(timeout=60)
    assert publisher.returncode == 0, errors
    assert confirmed <= site.versions(f"{site.vendor}/toxicity")


@KILLS
def test_publishers_to_a_server_killed_at_random_instants_tear_nothing(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    kill_publishers(hub_site(hub, tmp_path, monkeypatch), kills)


@KILLS
def test_publishers_to_a_bucket_killed_at_random_instants_tear_nothing(bucket: str, tmp_path: Path, kills: int) -> None:
    kill_publishers(Site(tmp_path, bucket), kills)


def kill_installers(world: World, url: str, kills: int) -> None:
    """Kill so many installers from `url`; the store and the lock hold whole files only, all along."""
    world.ok("trust", "remove", "registry", "corp")
    world.ok("registry", "add", "corp", url, "--root", str(world.pin), "--namespace", "acme")
    world.ok("init", "--base", str(world.base), "--label", "tiny")

    def sound() -> None:
        for path in world.stored():
            assert path.name.startswith(".") or Digest.of(path.read_bytes()).hex == path.name

    kill_installs(world, INSTALL, kills, sound)
    world.ok("install", "toxicity")
    world.ok("verify")


@KILLS
def test_installers_from_a_server_killed_at_random_instants_tear_nothing(
    world: World, hub: HubServer, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    monkeypatch.setenv("PATCHPM_TOKENS", f"{hub.endpoint}={hub.ann}")
    world.publish()
    world.ok("registry", "copy", str(world.registry), hub.registry())
    kill_installers(world, hub.registry(), kills)


@KILLS
def test_installers_from_a_bucket_killed_at_random_instants_tear_nothing(world: World, bucket: str, kills: int) -> None:
    world.publish()
    world.ok("registry", "copy", str(world.registry), bucket)
    kill_installers(world, bucket, kills)
