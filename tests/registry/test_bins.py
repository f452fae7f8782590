"""A registry of many vendors, in bins: it reads and changes like a flat one, and only the bins that matter move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpm.patch.name import PatchName
from patchpm.registry.builtin import builtin_host
from patchpm.registry.catalogue import Catalogue
from patchpm.registry.client import RegistryClient
from patchpm.registry.draft import ANY_TIME, load_state
from patchpm.registry.folder import FolderHost
from patchpm.registry.listing import bits_for
from patchpm.registry.roles import bins_targets_of, promise_of
from patchpm.registry.transfer import Transferred, transfer
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.policy import Policy, RegistryTrust
from patchpm.trust.private_keys import generate
from patchpm.trust.tuf_bins import MAX_BITS, Bin, all_bins
from tests.simulator import RegistrySimulator, crowded, keys_of, refused, simulated

TOXICITY = PatchName.parse("acme/toxicity")
MANY = ("acme", "labx", "third", "fourth", "fifth", "sixth")


@pytest.fixture
def registry(tmp_path: Path) -> RegistrySimulator:
    """Six vendors in four bins; `acme` has published."""
    return simulated(tmp_path, *MANY[1:], spread=crowded)


@pytest.fixture
def flat(tmp_path: Path) -> RegistrySimulator:
    """Two vendors, the most that stay flat; `acme` has published."""
    return simulated(tmp_path, "labx", spread=crowded)


@contextmanager
def asked(registry: RegistrySimulator) -> Iterator[list[str]]:
    """The metadata that is asked for meanwhile, without versions."""
    registry.host.asked.clear()
    found: list[str] = []
    yield found
    names = (path.removeprefix("metadata/") for path in registry.host.asked if path.startswith("metadata/"))
    found += [name if name == "timestamp.json" else name.partition(".")[2] for name in names]


def bin_of(registry: RegistrySimulator, vendor: str) -> Bin:
    return Bin.of(vendor, registry.state().bits)


def vendor_elsewhere(registry: RegistrySimulator, vendor: str = "acme") -> str:
    """A vendor in another bin."""
    place = bin_of(registry, vendor)
    return next(other for other in MANY if not place.holds(other))


def signed_anew(registry: RegistrySimulator, before: dict[str, bytes]) -> set[str]:
    """Roles of which there are new files."""
    new = (path.removeprefix("metadata/") for path in registry.host.files if path not in before)
    return {name.partition(".")[2].removesuffix(".json") for name in new if "/" not in name}


@given(vendor=st.from_regex("[a-z0-9][a-z0-9-]{0,37}", fullmatch=True), bits=st.integers(1, MAX_BITS))
def test_a_vendor_stands_in_exactly_one_bin_and_in_the_wider_ones_that_hold_it(vendor: str, bits: int) -> None:
    vendor = f"{vendor}x"
    place = Bin.of(vendor, bits)
    assert [one for one in all_bins(bits) if one.holds(vendor)] == [place]
    assert all(wider.holds(vendor) for wider in place.wider())
    assert len({one.label for one in all_bins(bits)}) == 2**bits


@given(vendors=st.integers(0, 2_000_000))
def test_more_vendors_never_need_fewer_bins(vendors: int) -> None:
    assert bits_for(vendors) <= bits_for(vendors + 1) <= MAX_BITS


def test_few_vendors_are_flat_and_ten_thousand_have_64_bins() -> None:
    assert [bits_for(vendors) for vendors in (0, 256, 257, 10_000, 16_384, 16_385)] == [0, 0, 6, 6, 6, 8]


def test_the_name_of_a_bin_is_no_name_of_a_vendor(registry: RegistrySimulator) -> None:
    for place in (Bin(1, 0), Bin(6, 63), Bin(12, 4095)):
        for role in (place.snapshot, place.targets):
            with refused("invalid-name"):
                registry.writer().add_vendor(role, keys_of(generate()))


def test_the_registry_in_the_package_is_flat() -> None:
    assert load_state(builtin_host(), ANY_TIME).bits == 0


def test_all_vendors_are_found_in_bins(registry: RegistrySimulator) -> None:
    for vendor in MANY[1:]:
        registry.publish(f"{vendor}/bias")
    client = registry.client()
    assert registry.state().bits == 2
    assert client.vendors() == tuple(sorted(MANY))
    for vendor in MANY[1:]:
        assert client.names(vendor) == (PatchName(vendor, "bias"),)
        assert client.vendor_keys(vendor) == keys_of(*registry.vendors[vendor])
    assert [str(entry.version) for entry in registry.client("another").entries(TOXICITY)] == ["1.0.0"]


def test_who_is_in_no_bin_is_unknown(registry: RegistrySimulator) -> None:
    assert registry.client().entries(PatchName.parse("nobody/x")) == ()
    with refused("unknown-vendor", "nobody"):
        registry.client().vendor_keys("nobody")


def test_a_first_run_reads_the_bins_of_the_vendors_that_are_asked_for_only(registry: RegistrySimulator) -> None:
    place = bin_of(registry, "acme")
    with asked(registry) as found:
        assert registry.client().entries(TOXICITY)
    needed = [f"{place.snapshot}.json", f"{place.targets}.json", "acme.json"]
    assert found == ["root.json", "timestamp.json", "root.json", "snapshot.json", *needed]


def test_a_second_run_asks_for_the_timestamp_only(registry: RegistrySimulator) -> None:
    assert registry.client().entries(TOXICITY)
    with asked(registry) as found:
        assert registry.client().entries(TOXICITY)
    assert found == ["timestamp.json"]


def test_what_happens_in_another_bin_is_not_read(registry: RegistrySimulator) -> None:
    assert registry.client().entries(TOXICITY)
    registry.publish(f"{vendor_elsewhere(registry)}/bias")
    with asked(registry) as found:
        assert registry.client().entries(TOXICITY)
    assert found == ["timestamp.json", "root.json", "snapshot.json"]


def test_of_the_own_bin_only_what_changed_is_read(registry: RegistrySimulator) -> None:
    assert registry.client().entries(TOXICITY)
    registry.publish(version="1.1.0")
    with asked(registry) as found:
        assert len(registry.client().entries(TOXICITY)) == 2
    assert found == [
        "timestamp.json",
        "root.json",
        "snapshot.json",
        f"{bin_of(registry, 'acme').snapshot}.json",
        "acme.json",
    ]


def test_publishing_writes_one_bin(registry: RegistrySimulator) -> None:
    before = dict(registry.host.files)
    registry.publish(version="1.1.0")
    assert signed_anew(registry, before) == {"acme", bin_of(registry, "acme").snapshot, "snapshot"}


def test_adding_a_vendor_writes_one_bin_of_either_kind(registry: RegistrySimulator) -> None:
    before = dict(registry.host.files)
    registry.add_vendor("newcomer")
    place = bin_of(registry, "newcomer")
    assert signed_anew(registry, before) == {place.snapshot, place.targets, "snapshot", "targets"}
    assert "newcomer" in registry.client().vendors()
    assert not registry.writer().add_vendor("newcomer", keys_of(*registry.vendors["newcomer"]))


def test_likenesses_are_found_across_bins(registry: RegistrySimulator) -> None:
    taken = [vendor for vendor in ("thlrd", "th1rd", "tihrd") if not bin_of(registry, "third").holds(vendor)]
    assert taken
    for vendor in taken:
        with refused("lookalike-name", "third"):
            registry.writer().add_vendor(vendor, keys_of(generate()))


def test_a_registry_moves_into_bins_and_later_into_more_while_clients_follow(flat: RegistrySimulator) -> None:
    seen = []
    for vendor in ("third", "fourth", "fifth", "sixth"):
        assert flat.client().entries(TOXICITY)
        flat.add_vendor(vendor)
        seen.append(flat.state().bits)
        assert flat.client().entries(TOXICITY)
        assert vendor in flat.client("another").vendors()
    assert seen == [1, 1, 2, 2]


def test_a_client_that_was_away_while_bins_came_follows(flat: RegistrySimulator) -> None:
    assert flat.client().entries(TOXICITY)
    for vendor in MANY[2:]:
        flat.add_vendor(vendor)
    flat.publish(version="1.1.0")
    assert len(flat.client().entries(TOXICITY)) == 2


@given(
    steps=st.lists(
        st.sampled_from(["add a vendor", "publish", "new online keys", "new targets key", "refresh", "wait", "look"]),
        max_size=14,
    )
)
@settings(max_examples=10, deadline=None)
def test_whatever_happens_clients_old_and_new_see_the_same_and_all_of_it(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    registry = simulated(tmp_path_factory.mktemp("registry"), spread=crowded)
    releases, vendors = 1, ["acme"]
    for number, step in enumerate([*steps, "look"]):
        if step == "add a vendor":
            vendors.append(f"{number}-vendor")
            registry.add_vendor(vendors[-1])
        elif step == "publish":
            registry.publish(version=f"1.0.{releases}")
            releases += 1
        elif step == "new online keys":
            registry.keys |= {"snapshot": generate(), "timestamp": generate()}
            registry.writer().rotate_root(registry.roles())
        elif step == "new targets key":
            registry.keys["targets"] = generate()
            registry.writer().rotate_root(registry.roles())
        elif step == "wait":
            registry.later(days=100)
            registry.writer().refresh()
        elif step == "refresh":
            registry.writer().refresh()
        else:
            for user in ("often here", f"first here at step {number}"):
                assert len(registry.client(user).entries(TOXICITY)) == releases
                assert registry.client(user).vendors() == tuple(sorted(vendors))
    assert registry.state().bits == crowded(len(vendors))


def test_bins_never_become_fewer(registry: RegistrySimulator) -> None:
    registry.spread = lambda _: 0  # an older writer, or one with other numbers in mind
    registry.add_vendor("newcomer")
    assert registry.state().bits == 2
    assert registry.client().entries(TOXICITY)


def test_the_root_can_be_rotated_role_by_role_and_clients_follow(registry: RegistrySimulator) -> None:
    assert registry.client().entries(TOXICITY)
    for number, role in enumerate(("timestamp", "snapshot", "targets", "root"), start=2):
        old = registry.keys[role]
        registry.keys[role] = generate()
        registry.writer(old).rotate_root(registry.roles())
        assert registry.client().state.root.version == number
        assert registry.client().entries(TOXICITY)
        assert registry.client(f"new at {role}").vendors() == tuple(sorted(MANY))
    registry.publish(version="1.1.0")
    assert len(registry.client().entries(TOXICITY)) == 2


def test_refreshing_signs_bins_anew_past_half_of_their_life(registry: RegistrySimulator) -> None:
    files = dict(registry.host.files)
    registry.later(days=20)
    registry.writer().refresh()
    assert signed_anew(registry, files) == {"snapshot"}
    files = dict(registry.host.files)
    registry.later(days=80)
    registry.writer().refresh()
    bins = {role for place in all_bins(2) for role in (place.snapshot, place.targets)}
    assert signed_anew(registry, files) == {"acme", "snapshot", "targets"} | bins
    assert registry.client().entries(TOXICITY)
    assert {
        document.signed.expires
        for place in all_bins(2)
        for bins in [registry.everything().bins]
        if bins is not None
        for document in (bins.promises(place), bins.delegations(place))
    } == {registry.now + timedelta(days=180)}


def test_adding_a_vendor_renews_the_lists_of_vendors_that_are_past_half_of_their_life(
    registry: RegistrySimulator,
) -> None:
    registry.later(days=100)
    files = dict(registry.host.files)
    registry.add_vendor("newcomer")
    assert {place.targets for place in all_bins(2)} < signed_anew(registry, files)


def test_a_bin_that_the_keys_at_hand_cannot_renew_stops_a_commit_that_clients_would_refuse(
    registry: RegistrySimulator,
) -> None:
    registry.later(days=170)
    version = registry.state().versions.targets + 1
    made = bins_targets_of(keys_of(registry.keys["targets"]), 2, version, registry.now + timedelta(days=180))
    head = registry.put(made, f"{version}.targets.json", registry.keys["targets"])
    registry.seal(lambda top: top.update({"targets.json": promise_of(head)}))
    registry.later(days=11)
    before = dict(registry.host.files)
    with refused("expired-metadata", "_targets"):
        RegistryWriter(registry.host, [registry.keys["snapshot"], registry.keys["timestamp"]], registry.now).refresh()
    assert registry.host.files == before
    registry.writer().refresh()
    assert registry.client().entries(TOXICITY)


def test_the_online_keys_alone_renew_what_is_theirs(registry: RegistrySimulator) -> None:
    registry.later(days=100)
    files = dict(registry.host.files)
    keys = [registry.keys["snapshot"], registry.keys["timestamp"]]
    RegistryWriter(registry.host, keys, registry.now).refresh()
    assert signed_anew(registry, files) == {"snapshot"} | {place.snapshot for place in all_bins(2)}
    assert registry.client().entries(TOXICITY)


def test_refreshing_reads_the_roles_of_vendors_whose_keys_are_at_hand_only(registry: RegistrySimulator) -> None:
    for vendor in MANY[1:]:
        registry.publish(f"{vendor}/bias")
    keys = [registry.keys["snapshot"], registry.keys["timestamp"], *registry.vendors["labx"]]
    with asked(registry) as found:
        RegistryWriter(registry.host, keys, registry.now).refresh()
    assert {name for name in found if name.removesuffix(".json") in MANY} == {"labx.json"}


def test_a_copy_of_a_registry_in_bins_serves_clients_and_goes_on(registry: RegistrySimulator, tmp_path: Path) -> None:
    target = FolderHost(tmp_path / "copy")
    transfer(registry.host, target)
    assert transfer(registry.host, target) == Transferred(0, 0)
    registry.publish(version="1.1.0")
    registry.add_vendor("newcomer")
    assert transfer(registry.host, target).releases == 1
    client = RegistryClient(target, "copy", registry.pin, tmp_path / "user", registry.now)
    assert len(client.entries(TOXICITY)) == 2
    assert client.vendors() == tuple(sorted([*MANY, "newcomer"]))


def test_names_of_a_registry_for_some_vendors_are_found_in_their_bins_alone(
    registry: RegistrySimulator, tmp_path: Path
) -> None:
    target = FolderHost(tmp_path / "copy")
    transfer(registry.host, target)
    trust = RegistryTrust("corp", str(tmp_path / "copy"), registry.pin, ("acme", "nobody"))
    catalogue = Catalogue(Policy(registries=(trust,)), tmp_path / "user", registry.now)
    assert catalogue.names() == [TOXICITY]
    places = {Bin.of(vendor, 2) for vendor in ("acme", "nobody")}
    kept = {path.name for path in (tmp_path / "user").rglob("_*.json")}
    assert kept == {f"{role}.json" for place in places for role in (place.snapshot, place.targets)}


def test_an_unreachable_registry_leaves_the_bins_that_are_known(registry: RegistrySimulator) -> None:
    assert registry.client().entries(TOXICITY)
    registry.host.reachable = False
    assert registry.client().entries(TOXICITY)
    with refused("unreachable"):
        registry.client().vendor_keys(vendor_elsewhere(registry))


def test_offline_asks_no_host_for_a_bin(registry: RegistrySimulator, tmp_path: Path) -> None:
    assert registry.client().entries(TOXICITY)
    other = vendor_elsewhere(registry)
    registry.host.is_local = False
    folder = registry.users / "user"
    client = RegistryClient(registry.host, "corp", registry.pin, folder, registry.now, offline=True)
    with asked(registry) as found:
        assert client.entries(TOXICITY)
        with refused("offline"):
            client.vendor_keys(other)
    assert found == []


@pytest.mark.parametrize("role", ["_snapshot", "_targets"])
def test_a_damaged_copy_of_a_bin_that_is_still_promised_is_told_or_fetched_again(
    registry: RegistrySimulator, role: str
) -> None:
    assert registry.client().entries(TOXICITY)
    (copy,) = registry.users.rglob(f"{role}-*.json")
    good = copy.read_bytes()
    copy.write_bytes(b"damaged")
    if role == "_targets":
        assert registry.client().entries(TOXICITY)
        assert copy.read_bytes() == good
    else:  # it is a floor against rollback, so it is not replaced in silence
        with refused("state-corrupt", copy.name):
            registry.client().entries(TOXICITY)


def test_a_run_that_began_earlier_is_not_disturbed_by_a_later_one_and_lowers_no_floor(
    registry: RegistrySimulator,
) -> None:
    early = registry.client()
    assert early.state.bits == 2
    old = dict(registry.host.files)
    registry.publish(version="1.1.0")
    assert len(registry.client().entries(TOXICITY)) == 2
    (copy,) = registry.users.rglob("_snapshot-*.json")
    later = copy.read_bytes()
    registry.host.files = old
    assert len(early.entries(TOXICITY)) == 1
    assert copy.read_bytes() == later


def test_the_same_change_at_the_same_time_gives_the_same_bytes(registry: RegistrySimulator) -> None:
    start = dict(registry.host.files)
    made = []
    for _ in range(2):
        registry.host.files = dict(start)
        registry.add_vendor("newcomer")
        registry.publish(version="1.1.0")
        made.append(registry.host.files)
    assert made[0] == made[1]
