"""Attacks on a registry whose lists of vendors are in bins, run against our own client.

Who holds which keys is said in each name: a mirror has none, a thief has the online ones (snapshot, timestamp).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Targets

from patchpm.errors import PatchpmError
from patchpm.patch.name import PatchName
from patchpm.registry.roles import bins_targets_of, promise_of, snapshot_of, targets_of, timestamp_of
from patchpm.trust.policy import KeySet
from patchpm.trust.private_keys import generate
from patchpm.trust.tuf_bins import Bin, all_bins
from tests.simulator import TIMESTAMP, RegistrySimulator, crowded, keys_of, refused, simulated

TOXICITY = PatchName.parse("acme/toxicity")
BITS = 2
ACME = Bin.of("acme", BITS)
MANY = ("acme", "labx", "third", "fourth", "fifth", "sixth")


@pytest.fixture
def registry(tmp_path: Path) -> RegistrySimulator:
    """Six vendors in four bins; `acme` has published."""
    made = simulated(tmp_path, *MANY[1:], spread=crowded)
    assert made.state().bits == BITS
    return made


@pytest.fixture
def flat(tmp_path: Path) -> RegistrySimulator:
    """Two vendors, the most that stay flat; `acme` has published."""
    made = simulated(tmp_path, "labx", spread=crowded)
    assert made.state().bits == 0
    return made


def listed(registry: RegistrySimulator, user: str = "user") -> list[str]:
    """The versions of `acme/toxicity` that a client sees."""
    return [str(entry.version) for entry in registry.client(user).entries(TOXICITY)]


def file(registry: RegistrySimulator, role: str) -> str:
    """The path of a bin as it is promised now."""
    bins = registry.everything().bins
    assert bins is not None
    part = bins.promises(ACME) if role == ACME.snapshot else bins.delegations(ACME)
    return f"metadata/{part.version}.{role}.json"


def delegations(registry: RegistrySimulator, **others: KeySet) -> Targets:
    """The next version of the part of targets of the bin of `acme`, with other vendors as well."""
    state = registry.everything()
    assert state.bins is not None
    old = state.bins.delegations(ACME)
    vendors = {vendor: state.vendor_keys(vendor) for vendor in state.vendors() if ACME.holds(vendor)}
    return targets_of({**vendors, **others}, old.version + 1, registry.now + timedelta(days=180), ACME)


def other_bin() -> Bin:
    """A bin with vendors, other than that of `acme`."""
    return next(place for place in all_bins(BITS) if place != ACME and any(map(place.holds, MANY)))


def stranger(*, inside: bool) -> str:
    """A name that nobody has, inside of the bin of `acme` or outside."""
    return next(name for name in map("stranger-{}".format, range(99)) if ACME.holds(name) == inside)


@pytest.mark.parametrize("role", [ACME.snapshot, ACME.targets])
def test_malicious_mirror_other_bytes_of_a_bin_are_refused(registry: RegistrySimulator, role: str) -> None:
    path = file(registry, role)
    data = registry.host.files[path]
    registry.host.files[path] = data.replace(b'"version":', b'"version": ')[: len(data)]
    with refused("wrong-digest", role):
        listed(registry)


@pytest.mark.parametrize("role", [ACME.snapshot, ACME.targets])
def test_malicious_mirror_a_bin_held_back_is_an_error_and_not_an_unknown_vendor(
    registry: RegistrySimulator, role: str
) -> None:
    del registry.host.files[file(registry, role)]
    with refused("missing-metadata", role):
        listed(registry)


def test_mix_and_match_bins_of_two_snapshots_do_not_fit(registry: RegistrySimulator) -> None:
    old = registry.host.files[file(registry, ACME.snapshot)]
    registry.publish(version="1.1.0")
    registry.host.files[file(registry, ACME.snapshot)] = old
    with refused("wrong-digest", ACME.snapshot):
        listed(registry)


@pytest.mark.parametrize("kind", ["snapshot", "targets"])
def test_mix_and_match_another_bin_in_the_place_of_the_right_one_is_refused(
    registry: RegistrySimulator, kind: str
) -> None:
    # By a thief of the online keys: the other bin is truly signed, by the very keys that sign this one.
    state = registry.everything()
    assert state.bins is not None
    other = other_bin()
    role = getattr(ACME, kind)
    file = f"{role}.json"
    if kind == "snapshot":
        promises = state.bins.promises(other)
        registry.seal(lambda top: top.update({file: promise_of(promises)}))
        registry.host.files[f"metadata/{promises.version}.{file}"] = promises.data
    else:
        part = state.bins.delegations(other)
        registry.put_bin(ACME, lambda meta: meta.update({file: promise_of(part)}))
        registry.host.files[f"metadata/{part.version}.{file}"] = part.data
    with refused("malformed-metadata", role):
        listed(registry)


def test_mix_and_match_an_empty_bin_cannot_hide_the_vendors_of_another_one(registry: RegistrySimulator) -> None:
    empty = targets_of({}, 9, registry.now + timedelta(days=9), other_bin())
    registry.put_bin_targets(ACME, empty, registry.keys["targets"])
    with refused("malformed-metadata", ACME.targets):
        listed(registry)


def test_mix_and_match_a_bin_is_no_snapshot_and_no_targets(registry: RegistrySimulator) -> None:
    state = registry.everything()
    assert state.bins is not None
    part = state.bins.promises(ACME)
    registry.host.files[f"metadata/{part.version}.snapshot.json"] = part.data
    later = registry.now + timedelta(days=7)
    sealed = timestamp_of(part, state.versions.timestamp + 1, later)
    registry.put(sealed, "timestamp.json", registry.keys["timestamp"])
    with refused("malformed-metadata", "snapshot.json"):
        listed(registry)
    targets = state.bins.delegations(ACME)
    registry.host.files[f"metadata/{targets.version}.targets.json"] = targets.data
    meta = {"targets.json": promise_of(targets), "acme.json": part.signed.meta["acme.json"]}
    snapshot = registry.put(snapshot_of(meta, 99, later), "99.snapshot.json", registry.keys["snapshot"])
    registry.put(timestamp_of(snapshot, 99, later), "timestamp.json", registry.keys["timestamp"])
    with refused("malformed-metadata", "targets.json"):
        listed(registry)


def test_mix_and_match_a_flat_snapshot_over_a_registry_in_bins_is_not_an_empty_registry(
    registry: RegistrySimulator,
) -> None:
    state = registry.everything()
    assert state.bins is not None
    assert state.snapshot is not None
    meta = {
        "targets.json": state.snapshot.signed.meta["targets.json"],
        "acme.json": state.bins.promises(ACME).signed.meta["acme.json"],
    }
    later = registry.now + timedelta(days=7)
    snapshot = registry.put(snapshot_of(meta, 99, later), "99.snapshot.json", registry.keys["snapshot"])
    registry.put(timestamp_of(snapshot, 99, later), "timestamp.json", registry.keys["timestamp"])
    with refused("malformed-metadata", "targets.json"):
        listed(registry)


def test_rollback_of_an_older_snapshot_bin_is_refused_even_with_stolen_online_keys(registry: RegistrySimulator) -> None:
    old = registry.everything().bins
    assert old is not None
    registry.publish(version="1.1.0")
    assert listed(registry) == ["1.0.0", "1.1.0"]
    registry.seal(lambda top: top.update({f"{ACME.snapshot}.json": promise_of(old.promises(ACME))}))
    with refused("rollback", ACME.snapshot):
        listed(registry)


def test_rollback_of_an_older_targets_bin_is_refused_even_with_stolen_online_keys(registry: RegistrySimulator) -> None:
    old = registry.everything().bins
    assert old is not None
    registry.add_vendor(stranger(inside=True))
    assert listed(registry)
    file = f"{ACME.targets}.json"
    registry.put_bin(ACME, lambda meta: meta.update({file: promise_of(old.delegations(ACME))}))
    with refused("rollback", file):
        listed(registry)


def test_rollback_a_fresh_client_takes_an_old_targets_bin_sealed_with_stolen_keys_until_it_expires(
    registry: RegistrySimulator,
) -> None:
    # A limit, as for a vendor's role: who never saw the newer one cannot miss it.
    old = registry.everything().bins
    assert old is not None
    registry.later(days=100)
    registry.writer().refresh()
    added = stranger(inside=True)
    registry.add_vendor(added)
    file = f"{ACME.targets}.json"
    registry.put_bin(ACME, lambda meta: meta.update({file: promise_of(old.delegations(ACME))}))
    with refused("unknown-vendor", added):
        registry.client("newcomer").vendor_keys(added)
    registry.later(days=81)
    registry.seal()
    with refused("expired-metadata", ACME.targets):
        registry.client("another newcomer").vendor_keys(added)


def test_rollback_of_a_vendors_role_in_a_new_bin_is_refused_even_with_stolen_online_keys(
    registry: RegistrySimulator,
) -> None:
    old = registry.role().document
    registry.publish(version="1.1.0")
    assert listed(registry) == ["1.0.0", "1.1.0"]
    registry.vouch("acme", old)
    with refused("rollback", "acme.json"):
        listed(registry)


def test_rollback_a_vendor_that_vanishes_from_its_snapshot_bin_is_refused(registry: RegistrySimulator) -> None:
    assert listed(registry)
    registry.put_bin(ACME, lambda meta: meta.pop("acme.json"))
    with refused("rollback", "acme.json"):
        listed(registry)


def test_rollback_a_bin_of_another_version_than_promised_is_refused(registry: RegistrySimulator) -> None:
    state = registry.everything()
    assert state.bins is not None
    part = state.bins.promises(ACME)
    promise = promise_of(part)
    promise.version += 1
    registry.host.files[f"metadata/{promise.version}.{ACME.snapshot}.json"] = part.data
    registry.seal(lambda top: top.update({f"{ACME.snapshot}.json": promise}))
    with refused("rollback", ACME.snapshot):
        listed(registry)


def test_rollback_the_move_into_bins_does_not_bring_an_older_role_back(flat: RegistrySimulator) -> None:
    old = flat.role().document
    flat.publish(version="1.1.0")
    assert listed(flat) == ["1.0.0", "1.1.0"]
    flat.add_vendor("third")
    assert flat.state().bits == 1
    flat.vouch("acme", old)
    elsewhere = next(name for name in map("stranger-{}".format, range(99)) if Bin.of(name, 1) != Bin.of("acme", 1))
    with refused("unknown-vendor"):
        flat.client().vendor_keys(elsewhere)  # the snapshot with bins is taken, and kept
    for _ in range(2):
        with refused("rollback", "acme.json"):
            listed(flat)


def test_rollback_the_move_into_bins_does_not_lose_a_vendor(flat: RegistrySimulator) -> None:
    assert listed(flat)
    flat.add_vendor("third")
    flat.put_bin(Bin.of("acme", 1), lambda meta: meta.pop("acme.json"))
    with refused("rollback", "acme.json"):
        listed(flat)


def test_rollback_the_move_into_more_bins_does_not_bring_an_older_role_back(flat: RegistrySimulator) -> None:
    flat.add_vendor("third")
    old = flat.role().document
    flat.publish(version="1.1.0")
    assert listed(flat) == ["1.0.0", "1.1.0"]
    flat.add_vendor("fourth")
    flat.add_vendor("fifth")
    assert flat.state().bits == BITS
    flat.vouch("acme", old)
    with refused("rollback", "acme.json"):
        listed(flat)


def test_rollback_two_moves_that_a_client_slept_through_are_no_way_around(flat: RegistrySimulator) -> None:
    old = flat.role().document
    flat.publish(version="1.1.0")
    assert listed(flat) == ["1.0.0", "1.1.0"]
    for vendor in MANY[2:]:
        flat.add_vendor(vendor)
    flat.vouch("acme", old)
    with refused("rollback", "acme.json"):
        listed(flat)


def test_rollback_a_change_of_the_targets_key_beside_the_move_is_no_way_around(flat: RegistrySimulator) -> None:
    old = flat.role().document
    flat.publish(version="1.1.0")
    assert listed(flat) == ["1.0.0", "1.1.0"]
    flat.keys["targets"] = generate()
    flat.writer().rotate_root(flat.roles())
    flat.add_vendor("third")
    flat.vouch("acme", old)
    with refused("rollback", "acme.json"):
        listed(flat)


def test_rollback_from_bins_to_flat_is_refused_even_with_stolen_online_keys(flat: RegistrySimulator) -> None:
    old = flat.state()
    assert old.snapshot is not None
    flat.add_vendor("third")
    assert listed(flat)
    later = flat.now + timedelta(days=7)
    snapshot = flat.put(snapshot_of(old.snapshot.signed.meta, 99, later), "99.snapshot.json", flat.keys["snapshot"])
    flat.put(timestamp_of(snapshot, 99, later), "timestamp.json", flat.keys["timestamp"])
    with refused("rollback", "snapshot.json"):
        listed(flat)


def test_rollback_to_fewer_bins_is_refused_even_with_stolen_online_keys(flat: RegistrySimulator) -> None:
    flat.add_vendor("third")
    fewer = flat.state()
    assert fewer.snapshot is not None
    for vendor in MANY[3:]:
        flat.add_vendor(vendor)
    assert listed(flat)
    head = flat.state()
    assert head.snapshot is not None
    meta = {**fewer.snapshot.signed.meta, "targets.json": head.snapshot.signed.meta["targets.json"]}
    later = flat.now + timedelta(days=7)
    snapshot = flat.put(snapshot_of(meta, 99, later), "99.snapshot.json", flat.keys["snapshot"])
    flat.put(timestamp_of(snapshot, 99, later), "timestamp.json", flat.keys["timestamp"])
    with refused("rollback", "snapshot.json"):
        listed(flat)


def test_more_bins_than_targets_signed_lead_nowhere_even_with_stolen_online_keys(registry: RegistrySimulator) -> None:
    assert listed(registry)
    state = registry.everything()
    assert state.bins is not None
    assert state.snapshot is not None
    later = registry.now + timedelta(days=7)
    top = {"targets.json": state.snapshot.signed.meta["targets.json"]}
    for place in all_bins(BITS + 1):
        wide = Bin(BITS, place.number >> 1)
        meta = {file: old for file, old in state.bins.promises(wide).signed.meta.items() if place.lists(file)}
        part = state.bins.delegations(wide)
        meta[f"{place.targets}.json"] = promise_of(part)
        registry.host.files[f"metadata/{part.version}.{place.targets}.json"] = part.data
        document = registry.put(
            snapshot_of(meta, 1, later, place), f"1.{place.snapshot}.json", registry.keys["snapshot"]
        )
        top[f"{place.snapshot}.json"] = promise_of(document)
    snapshot = registry.put(snapshot_of(top, 99, later), "99.snapshot.json", registry.keys["snapshot"])
    registry.put(timestamp_of(snapshot, 99, later), "timestamp.json", registry.keys["timestamp"])
    for user in ("user", "newcomer"):
        with refused("malformed-metadata", Bin.of("acme", BITS + 1).targets):
            listed(registry, user)


@pytest.mark.parametrize("change", ["a vendor beside the bins", "a bin too few", "a bin too many", "no targets.json"])
def test_a_snapshot_that_is_neither_flat_nor_in_bins_is_refused(registry: RegistrySimulator, change: str) -> None:
    state = registry.everything()
    assert state.bins is not None
    promise = state.bins.promises(ACME).signed.meta["acme.json"]
    edits = {
        "a vendor beside the bins": lambda top: top.update({"acme.json": promise}),
        "a bin too few": lambda top: top.pop(f"{other_bin().snapshot}.json"),
        "a bin too many": lambda top: top.update({f"{Bin(3, 5).snapshot}.json": promise}),
        "no targets.json": lambda top: top.pop("targets.json"),
    }
    registry.seal(edits[change])
    with refused("malformed-metadata", "snapshot.json"):
        listed(registry)


@pytest.mark.parametrize("what", ["a vendor of another bin", "targets.json", "a bin", "no vendor"])
def test_a_snapshot_bin_that_promises_what_is_not_of_it_is_refused(registry: RegistrySimulator, what: str) -> None:
    state = registry.everything()
    assert state.bins is not None
    promise = state.bins.promises(ACME).signed.meta["acme.json"]
    names = {
        "a vendor of another bin": f"{stranger(inside=False)}.json",
        "targets.json": "targets.json",
        "a bin": f"{other_bin().targets}.json",
        "no vendor": "UPPER.json",
    }
    registry.put_bin(ACME, lambda meta: meta.update({names[what]: promise}))
    with refused("malformed-metadata", ACME.snapshot):
        listed(registry)


def test_a_snapshot_bin_that_says_it_is_another_is_refused(registry: RegistrySimulator) -> None:
    registry.put_bin(ACME, field=other_bin())
    with refused("malformed-metadata", ACME.snapshot):
        listed(registry)


def test_a_delegation_in_another_bin_than_that_of_the_vendor_is_refused(registry: RegistrySimulator) -> None:
    made = delegations(registry, **{stranger(inside=False): keys_of(generate())})
    registry.put_bin_targets(ACME, made, registry.keys["targets"])
    with refused("malformed-metadata", ACME.targets):
        listed(registry)


@pytest.mark.parametrize("wider", ["paths", "terminating"])
def test_a_delegation_in_a_bin_that_is_wider_than_its_vendor_is_refused(
    registry: RegistrySimulator, wider: str
) -> None:
    made = delegations(registry)
    assert made.delegations is not None
    assert made.delegations.roles is not None
    if wider == "paths":
        made.delegations.roles["acme"].paths = ["*/*/*/*"]
    else:
        made.delegations.roles["acme"].terminating = False
    registry.put_bin_targets(ACME, made, registry.keys["targets"])
    with refused("malformed-metadata", ACME.targets):
        listed(registry)


def test_a_bin_cannot_list_releases_over_the_vendors_head(registry: RegistrySimulator) -> None:
    made = delegations(registry)
    made.targets = dict(registry.role().targets)
    registry.put_bin_targets(ACME, made, registry.keys["targets"])
    with refused("malformed-metadata", ACME.targets):
        listed(registry)


def test_a_bin_cannot_delegate_to_bins(registry: RegistrySimulator) -> None:
    made = bins_targets_of(keys_of(registry.keys["targets"]), BITS, 9, registry.now + timedelta(days=9))
    made.unrecognized_fields["bin"] = ACME.label
    registry.put_bin_targets(ACME, made, registry.keys["targets"])
    with refused("malformed-metadata", ACME.targets):
        listed(registry)


@pytest.mark.parametrize("thief", ["snapshot", "timestamp", "root", "vendor"])
def test_key_compromise_only_the_targets_keys_sign_a_list_of_vendors(registry: RegistrySimulator, thief: str) -> None:
    key = registry.vendors["acme"][0] if thief == "vendor" else registry.keys[thief]
    made = delegations(registry, acme=keys_of(generate()))
    registry.put_bin_targets(ACME, made, key)
    with refused("unknown-signer", ACME.targets):
        listed(registry)


@pytest.mark.parametrize("thief", ["targets", "timestamp", "root"])
def test_key_compromise_only_the_snapshot_keys_sign_promises(registry: RegistrySimulator, thief: str) -> None:
    registry.put_bin(ACME, signer=registry.keys[thief])
    with refused("unknown-signer", ACME.snapshot):
        listed(registry)


def test_key_compromise_a_snapshot_key_that_root_took_away_signs_no_bins(registry: RegistrySimulator) -> None:
    assert listed(registry)
    stolen = registry.keys["snapshot"]
    registry.keys["snapshot"] = generate()
    registry.writer().rotate_root(registry.roles())
    assert listed(registry) == ["1.0.0"]
    registry.put_bin(ACME, signer=stolen)
    with refused("unknown-signer", ACME.snapshot):
        listed(registry)


def test_freeze_bins_expire_on_their_own_account(registry: RegistrySimulator) -> None:
    registry.later(days=181)
    registry.seal()
    with refused("expired-metadata", ACME.snapshot):
        listed(registry)
    registry.put_bin(ACME)
    with refused("expired-metadata", ACME.targets):
        listed(registry)


def test_freeze_an_old_registry_in_bins_is_taken_until_its_timestamp_expires_and_no_longer(
    registry: RegistrySimulator,
) -> None:
    old = dict(registry.host.files)
    registry.publish(version="1.1.0")
    registry.host.files = old
    registry.later(days=6)
    assert listed(registry) == ["1.0.0"]
    registry.later(days=1)
    with refused("expired-metadata", "timestamp.json"):
        listed(registry)


def test_endless_data_a_bin_is_not_read_beyond_its_promised_size(registry: RegistrySimulator) -> None:
    registry.host.files[file(registry, ACME.targets)] += b" " * 50_000_000
    registry.host.read_bytes = 0
    with refused("too-large", ACME.targets):
        listed(registry)
    assert registry.host.read_bytes < 100_000


def test_fast_forward_of_a_bin_blocks_known_clients_until_root_changes_the_keys(registry: RegistrySimulator) -> None:
    registry.put_bin(ACME, version=2**31 - 1)
    assert listed(registry) == ["1.0.0"]
    registry.put_bin(ACME, version=100)
    with refused("rollback", ACME.snapshot):
        listed(registry)
    registry.keys["snapshot"] = generate()
    registry.keys["timestamp"] = generate()
    registry.writer().rotate_root(registry.roles())
    registry.publish(version="1.1.0")
    assert listed(registry) == ["1.0.0", "1.1.0"]


def test_fast_forward_the_recovered_bin_counts_from_one_again(registry: RegistrySimulator) -> None:
    registry.put_bin(ACME, version=2**31 - 1)
    registry.keys["snapshot"] = generate()
    registry.writer().rotate_root(registry.roles())
    bins = registry.everything().bins
    assert bins is not None
    assert bins.promises(ACME).version == 1


def test_a_head_that_delegates_elsewhere_is_refused_by_who_writes_or_copies(registry: RegistrySimulator) -> None:
    # Who installs does not read it: the keys of root's targets sign every bin.
    version = registry.state().versions.targets + 1
    later = registry.now + timedelta(days=9)
    for made in (
        bins_targets_of(keys_of(generate()), BITS, version, later),
        bins_targets_of(keys_of(registry.keys["targets"]), BITS + 1, version, later),
        targets_of({}, version, later),
    ):
        head = registry.put(made, f"{version}.targets.json", registry.keys["targets"])
        before = registry.host.files[TIMESTAMP]
        registry.seal(lambda top, head=head: top.update({"targets.json": promise_of(head)}))  # type: ignore[misc]
        with pytest.raises(PatchpmError, match=r"targets\.json"):
            registry.everything()
        registry.host.files[TIMESTAMP] = before


def test_what_is_remembered_of_bins_cannot_be_changed_in_silence(registry: RegistrySimulator) -> None:
    assert listed(registry)
    (copy,) = registry.users.rglob("_snapshot-*.json")
    good = copy.read_bytes()
    registry.publish(version="1.1.0")
    for place in range(0, len(good), 7):
        copy.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with refused("state-corrupt", copy.name):
            listed(registry)
    copy.write_bytes(good)
    assert listed(registry) == ["1.0.0", "1.1.0"]
