"""Many publishers at once, and publishers that are killed: no release is lost, and the registry always verifies."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from patchpm.patch.name import PatchName
from patchpm.registry.client import RegistryClient
from patchpm.registry.hosts import open_host
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.policy import Policy
from patchpm.trust.private_keys import generate
from patchpm.trust.release import verify_release
from tests.registry.hub_server import HubServer, hub_server
from tests.registry.s3 import new_bucket, s3_server
from tests.simulator import keys_of
from tests.world import roles

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


class Site:
    """A registry, and the key files that publishers need."""

    def __init__(self, root: Path, address: str, *, bits: int = 0, vendor: str = "acme") -> None:
        self.vendor = vendor
        self.host = open_host(address)
        self.keys = root / "keys"
        self.state = root / "state"
        operator, signer = generate(), generate("p256")
        self.keys.mkdir()
        for name, key in (("operator", operator), ("vendor", signer)):
            (self.keys / name).write_bytes(key.to_openssh(None))
        writer = RegistryWriter(self.host, [operator, signer], datetime.now(UTC), spread=lambda _: bits)
        self.pin = writer.create(roles(operator))
        writer.add_vendor(vendor, keys_of(signer), allow_lookalike=True)

    def publisher(self, name: str, first: int = 0, count: int = 1) -> subprocess.Popen[str]:
        """Start a publisher."""
        command = [sys.executable, "-m", "tests.registry.publisher", self.host.where, str(self.keys), name]
        return subprocess.Popen(
            [*command, str(first), str(count)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )

    def versions(self, name: str) -> set[str]:
        """What a new client sees, every release of it fetched and verified."""
        now = datetime.now(UTC)
        client = RegistryClient(self.host, "corp", self.pin, self.state, now)
        found = set()
        for entry in client.entries(PatchName.parse(name)):
            keys = client.vendor_keys(self.vendor)
            verify_release(
                client.fetch(entry),
                keys=keys.keys,
                threshold=keys.threshold,
                policy=Policy(),
                now=now,
                expected=entry,
            ).require()
            found.add(str(entry.version))
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with hub_server(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(
    params=[
        "folder",
        "folder with bins",
        "s3",
        "hub",
    ]
)
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    if request.param == "hub":
        return hub_site(request.getfixturevalue("hub"), tmp_path, monkeypatch)
    if request.param != "s3":
        return Site(tmp_path, str(tmp_path / "registry"), bits=6 if "bins" in request.param else 0)
    environment = request.getfixturevalue("server")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Site(tmp_path, f"s3://{new_bucket(environment)}/registry")


def hub_site(running: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A registry on a server, in organisations of its own: what is published stays there."""
    vendor = f"v{os.urandom(4).hex()}"
    for org in (vendor, f"{vendor}-registry"):
        running.site.accounts.add("org", org)
        running.site.accounts.set_member(org, "ann", "write")
    monkeypatch.setenv("PATCHPM_TOKENS", f"{running.endpoint}={running.ann}")
    return Site(tmp_path, running.registry(f"{vendor}-registry/patchpm-registry"), vendor=vendor)


def test_sixteen_publishers_at_once_lose_nothing(site: Site) -> None:
    names = [f"{site.vendor}/patch-{number}" for number in range(16)]
    publishers = [site.publisher(name, count=2) for name in names]
    for publisher in publishers:
        _, errors = publisher.communicate(timeout=300)
        assert publisher.returncode == 0, errors
    for name in names:
        assert site.versions(name) == {"1.0.0", "1.0.1"}


def test_publishers_of_one_patch_at_once_lose_nothing(site: Site) -> None:
    publishers = [site.publisher(f"{site.vendor}/toxicity", first=10 * number, count=2) for number in range(4)]
    for publisher in publishers:
        _, errors = publisher.communicate(timeout=300)
        assert publisher.returncode == 0, errors
    assert site.versions(f"{site.vendor}/toxicity") == {
        f"1.0.{10 * number + step}" for number in range(4) for step in range(2)
    }


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.stress) for n in (1, 2))])
def test_a_publisher_killed_at_any_instant_leaves_a_registry_that_verifies_and_goes_on(site: Site, seed: int) -> None:
    chance = random.Random(seed)
    first = 0
    confirmed: set[str] = set()
    for _ in range(4):
        publisher = site.publisher(f"{site.vendor}/toxicity", first=first, count=1000)
        assert publisher.stdout is not None
        confirmed.add(publisher.stdout.readline().strip())
        time.sleep(chance.uniform(0, 0.25))
        publisher.send_signal(signal.SIGKILL)
        rest, _ = publisher.communicate()
        confirmed |= set(rest.split())
        seen = site.versions(f"{site.vendor}/toxicity")
        assert confirmed <= seen
        first = 1 + max(int(version.rpartition(".")[2]) for version in seen)
    again = site.publisher(f"{site.vendor}/toxicity", first=first, count=1)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert confirmed | {f"1.0.{first}"} <= site.versions(f"{site.vendor}/toxicity")
