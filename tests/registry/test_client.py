from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from patchpm.patch.digest import Digest
from patchpm.patch.name import PatchName
from patchpm.registry.builtin import builtin_policy
from patchpm.registry.catalogue import Catalogue
from patchpm.registry.client import RegistryClient
from patchpm.trust.private_keys import generate
from tests.simulator import START, RegistrySimulator, refused

TOXICITY = PatchName.parse("acme/toxicity")


def test_a_second_run_asks_for_the_timestamp_only(registry: RegistrySimulator) -> None:
    assert registry.client().entries(TOXICITY)
    registry.host.asked.clear()
    assert registry.client().entries(TOXICITY)
    assert registry.host.asked == ["metadata/timestamp.json"]


def test_a_run_that_was_cut_after_its_timestamp_is_made_up_for(registry: RegistrySimulator) -> None:
    assert registry.client().entries(TOXICITY)
    registry.publish(version="1.1.0")
    snapshot = f"metadata/{registry.state().versions.snapshot}.snapshot.json"
    hidden = registry.host.files.pop(snapshot)
    with refused("missing-metadata", "snapshot"):
        registry.client().entries(TOXICITY)
    registry.host.files[snapshot] = hidden
    assert len(registry.client().entries(TOXICITY)) == 2


def test_a_run_reads_the_registry_once(registry: RegistrySimulator) -> None:
    client = registry.client()
    assert client.entries(TOXICITY)
    registry.host.reachable = False
    assert client.entries(TOXICITY)
    assert client.names("acme") == (TOXICITY,)
    assert client.vendor_keys("acme").threshold == 2


def test_an_unreachable_registry_leaves_the_last_state(registry: RegistrySimulator) -> None:
    assert registry.client().entries(TOXICITY)
    registry.host.reachable = False
    assert registry.client().entries(TOXICITY)
    with refused("unreachable"):
        registry.client("newcomer").entries(TOXICITY)


def test_offline_asks_no_host_that_needs_a_network(registry: RegistrySimulator, tmp_path: Path) -> None:
    registry.host.is_local = False

    def offline() -> RegistryClient:
        return RegistryClient(registry.host, "corp", registry.pin, tmp_path / "u", registry.now, offline=True)

    with refused("offline"):
        offline().vendors()
    RegistryClient(registry.host, "corp", registry.pin, tmp_path / "u", registry.now).entries(TOXICITY)
    registry.host.read_bytes = 0
    assert offline().entries(TOXICITY)
    assert registry.host.read_bytes == 0


def test_a_vendor_that_nobody_knows_is_told_as_such(registry: RegistrySimulator) -> None:
    client = registry.client()
    assert client.entries(PatchName.parse("nobody/x")) == ()
    with refused("unknown-vendor", "nobody"):
        client.vendor_keys("nobody")


def test_trust_can_start_at_a_later_root(registry: RegistrySimulator) -> None:
    registry.keys["timestamp"] = generate()
    registry.pin = registry.writer().rotate_root(registry.roles())
    assert registry.client().state.roots[0].version == 2
    assert registry.client().entries(TOXICITY)


def test_another_pin_starts_another_memory(registry: RegistrySimulator) -> None:
    assert registry.client().vendors()
    registry.pin = Digest.of(b"another root")
    with refused("root-mismatch", "corp"):
        registry.client().vendors()


def test_a_root_is_remembered_even_if_the_rest_of_the_run_fails(registry: RegistrySimulator) -> None:
    assert registry.client().vendors()
    before = dict(registry.host.files)
    registry.keys["timestamp"] = generate()
    registry.writer().rotate_root(registry.roles())
    del registry.host.files["metadata/timestamp.json"]
    with refused("missing-metadata"):
        registry.client().vendors()
    registry.host.files = before
    with refused("unknown-signer", "timestamp.json"):
        registry.client().vendors()


def test_a_root_is_followed_while_its_timestamp_is_still_on_its_way(
    registry: RegistrySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = registry.host.files["metadata/timestamp.json"]
    registry.keys["timestamp"] = generate()
    registry.writer().rotate_root(registry.roles())
    new = registry.host.files["metadata/timestamp.json"]
    registry.host.files["metadata/timestamp.json"] = old

    def arrive(_: float) -> None:
        registry.host.files["metadata/timestamp.json"] = new

    monkeypatch.setattr("time.sleep", arrive)
    assert registry.client().vendors() == ("acme",)


@pytest.mark.parametrize("data", [b"", b"{}", b"not json", b'{"format":"patchpm-registry-state-v1","roots":[]}'])
def test_a_damaged_memory_is_told_with_the_way_out(registry: RegistrySimulator, data: bytes) -> None:
    assert registry.client().vendors()
    (state,) = registry.users.rglob("state.json")
    state.write_bytes(data)
    with refused("state-corrupt", "delete"):
        registry.client().vendors()


def test_a_damaged_copy_of_a_vendors_role_is_fetched_again(registry: RegistrySimulator) -> None:
    assert registry.client().entries(TOXICITY)
    (copy,) = registry.users.rglob("vendors/acme.json")
    copy.write_bytes(b"damaged")
    assert registry.client().entries(TOXICITY)
    assert copy.read_bytes() == registry.role().document.data


def test_the_floor_of_a_lock_is_lifted_by_a_change_of_keys_only(registry: RegistrySimulator) -> None:
    seen = replace(registry.client().state.versions, timestamp=1000, snapshot=1000)
    with refused("rollback", "timestamp.json"):
        registry.client().state.check_not_below(seen)
    registry.keys["timestamp"] = generate()
    registry.writer().rotate_root(registry.roles())
    registry.client().state.check_not_below(seen)
    with refused("rollback", "root.json"):
        registry.client().state.check_not_below(replace(seen, root=3))


def test_a_role_listed_in_a_lock_counts_as_well(registry: RegistrySimulator) -> None:
    seen = registry.client().state.versions
    registry.client().state.check_not_below(seen)
    for role in ("root", "timestamp", "snapshot", "targets"):
        newer = replace(seen, **{role: getattr(seen, role) + 1})
        with refused("rollback", f"{role}.json"):
            registry.client().state.check_not_below(newer)


def test_the_registry_in_the_package_is_pinned_unexpired_and_verifies(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from patchpm.trust.release import verify_release

    now = datetime.now(UTC) + timedelta(days=365)
    policy = builtin_policy()
    catalogue = Catalogue(policy, tmp_path, now)
    for name in catalogue.names():
        assert name.vendor == "patchpm"
        keys = catalogue.vendor_keys(name.vendor)
        for entry in catalogue.entries(name):
            verify_release(
                catalogue.fetch(entry),
                keys=keys.keys,
                threshold=keys.threshold,
                policy=policy,
                now=now,
                expected=entry,
            ).require()
    assert catalogue.versions("builtin").root == 1
    assert now > START
