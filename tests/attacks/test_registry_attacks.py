"""The attacks that TUF lists, one test or more each, run against our own client.

Source: https://theupdateframework.io/docs/security/, and the table of rows in the threat model.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.metadata import Targets

from patchpm.errors import PatchpmError
from patchpm.patch.name import PatchName
from patchpm.registry.index import ReleaseEntry
from patchpm.registry.roles import promise_of, root_of, snapshot_of, timestamp_of, vendor_targets
from patchpm.trust.policy import Policy
from patchpm.trust.private_keys import generate
from patchpm.trust.release import Verdict, verify_release
from patchpm.trust.tuf_metadata import MAX_BYTES
from tests.simulator import TIMESTAMP, RegistrySimulator, keys_of, refused

TOXICITY = PatchName.parse("acme/toxicity")


def listed(registry: RegistrySimulator, user: str = "user") -> list[str]:
    """The versions of `acme/toxicity` that a client sees."""
    return [str(entry.version) for entry in registry.client(user).entries(TOXICITY)]


def installed(registry: RegistrySimulator, entry: ReleaseEntry) -> Verdict:
    """What comes of fetching and verifying a release."""
    client = registry.client()
    keys = client.vendor_keys(entry.name.vendor)
    files = client.fetch(entry)
    return verify_release(
        files, keys=keys.keys, threshold=keys.threshold, policy=Policy(), now=registry.now, expected=entry
    )


@pytest.mark.parametrize("file", ["manifest.json", "prefix.safetensors", "attestations.jsonl"])
def test_arbitrary_install_other_bytes_of_any_file_are_refused(registry: RegistrySimulator, file: str) -> None:
    entry = registry.client().entries(TOXICITY)[0]
    path = f"patches/{entry.path}/{file}"
    data = registry.host.files[path]
    registry.host.files[path] = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
    with refused("wrong-digest", file):
        installed(registry, entry).require()


def test_arbitrary_install_a_vendor_role_made_by_the_mirror_is_refused(registry: RegistrySimulator) -> None:
    role = registry.role()
    registry.put(role.document.signed, role.document.name, generate())
    with refused("wrong-digest", role.document.name):
        listed(registry)


def test_rollback_an_older_timestamp_is_refused(registry: RegistrySimulator) -> None:
    old = registry.host.files[TIMESTAMP]
    registry.publish(version="1.0.1")
    assert listed(registry) == ["1.0.0", "1.0.1"]
    registry.host.files[TIMESTAMP] = old
    with refused("rollback", "timestamp.json"):
        listed(registry)


def test_rollback_an_older_timestamp_of_the_same_snapshot_is_refused(registry: RegistrySimulator) -> None:
    state = registry.state()
    assert state.timestamp is not None
    old = registry.host.files[TIMESTAMP]
    state.timestamp.signed.version += 1
    registry.put(state.timestamp.signed, "timestamp.json", registry.keys["timestamp"])
    assert listed(registry)
    registry.host.files[TIMESTAMP] = old
    with refused("rollback", "timestamp.json"):
        listed(registry)


def test_mix_and_match_of_two_timestamps_with_one_number_the_first_one_seen_stays(registry: RegistrySimulator) -> None:
    assert listed(registry) == ["1.0.0"]
    number = registry.state().versions.timestamp
    registry.publish(version="1.0.1")
    state = registry.state()
    assert state.timestamp is not None
    state.timestamp.signed.version = number
    registry.put(state.timestamp.signed, "timestamp.json", registry.keys["timestamp"])
    assert listed(registry) == ["1.0.0"]
    assert listed(registry, "newcomer") == ["1.0.0", "1.0.1"]


def test_rollback_an_older_snapshot_is_refused_even_with_a_stolen_timestamp_key(registry: RegistrySimulator) -> None:
    old = registry.host.files[TIMESTAMP]
    registry.publish(version="1.0.1")
    assert listed(registry)
    state = registry.state()
    registry.host.files[TIMESTAMP] = old
    older = registry.state()
    assert older.timestamp is not None
    older.timestamp.signed.version = state.versions.timestamp + 1
    registry.put(older.timestamp.signed, "timestamp.json", registry.keys["timestamp"])
    with refused("rollback", "timestamp.json"):
        listed(registry)


def test_rollback_an_older_vendor_role_is_refused_even_with_stolen_online_keys(registry: RegistrySimulator) -> None:
    old = registry.role().document
    registry.publish(version="1.0.1")
    assert listed(registry) == ["1.0.0", "1.0.1"]
    registry.seal(lambda meta: meta.update({"acme.json": promise_of(old)}))
    with refused("rollback", "acme.json"):
        listed(registry)


def test_rollback_a_fresh_client_takes_an_old_vendor_role_sealed_with_stolen_keys_until_it_expires(
    registry: RegistrySimulator,
) -> None:
    # A limit, not a feature: who never saw the newer role cannot miss it. The role's own expiry bounds the harm.
    old = registry.role().document
    registry.later(days=100)
    registry.add_vendor("labx")
    registry.publish(version="1.0.1")
    registry.seal(lambda meta: meta.update({"acme.json": promise_of(old)}))
    assert listed(registry, "newcomer") == ["1.0.0"]
    registry.later(days=81)
    registry.seal()
    with refused("expired-metadata", "1.acme.json"):
        listed(registry, "another newcomer")


def test_rollback_a_vendor_that_vanishes_from_the_snapshot_is_refused(registry: RegistrySimulator) -> None:
    assert listed(registry)
    registry.seal(lambda meta: meta.pop("acme.json"))
    with refused("rollback", "acme.json"):
        listed(registry)


def test_rollback_is_noticed_by_who_has_only_the_lock_of_a_colleague(registry: RegistrySimulator) -> None:
    old = registry.host.files[TIMESTAMP]
    registry.publish(version="1.0.1")
    seen = registry.client("colleague").state.versions
    registry.host.files[TIMESTAMP] = old
    with refused("rollback", "timestamp.json"):
        registry.client("newcomer").state.check_not_below(seen)


def test_freeze_a_timestamp_that_is_never_renewed_expires(registry: RegistrySimulator) -> None:
    assert listed(registry)
    registry.later(days=6)
    assert listed(registry)
    registry.later(days=1)
    with refused("expired-metadata", "timestamp.json"):
        listed(registry)


def test_freeze_holds_offline_too(registry: RegistrySimulator) -> None:
    assert listed(registry)
    registry.host.reachable = False
    assert listed(registry) == ["1.0.0"]
    registry.later(days=7)
    with refused("expired-metadata", "timestamp.json"):
        listed(registry)


def test_freeze_the_root_expires_as_well(registry: RegistrySimulator) -> None:
    registry.later(days=365)
    registry.seal()
    with refused("expired-metadata", "root.json"):
        listed(registry)


def test_freeze_a_snapshot_expires_on_its_own_account(registry: RegistrySimulator) -> None:
    state = registry.state()
    assert state.snapshot is not None
    short = snapshot_of(state.snapshot.signed.meta, 9, registry.now + timedelta(hours=1))
    snapshot = registry.put(short, "9.snapshot.json", registry.keys["snapshot"])
    timestamp = timestamp_of(snapshot, 9, registry.now + timedelta(days=7))
    registry.put(timestamp, "timestamp.json", registry.keys["timestamp"])
    assert listed(registry)
    registry.later(hours=1)
    with refused("expired-metadata", "9.snapshot.json"):
        listed(registry)


def test_rollback_a_snapshot_of_another_version_than_promised_is_refused(registry: RegistrySimulator) -> None:
    state = registry.state()
    assert state.snapshot is not None
    assert state.timestamp is not None
    timestamp = state.timestamp.signed
    timestamp.version += 1
    timestamp.snapshot_meta.version += 1
    registry.host.files[f"metadata/{timestamp.snapshot_meta.version}.snapshot.json"] = state.snapshot.data
    registry.put(timestamp, "timestamp.json", registry.keys["timestamp"])
    with refused("rollback", "snapshot.json"):
        listed(registry)


@pytest.mark.parametrize("role", ["targets", "acme"])
def test_rollback_a_role_of_another_version_than_promised_is_refused(registry: RegistrySimulator, role: str) -> None:
    state = registry.state()
    assert state.targets is not None
    old = state.targets if role == "targets" else registry.role().document
    promise = promise_of(old)
    promise.version += 1
    registry.host.files[f"metadata/{promise.version}.{role}.json"] = old.data
    registry.seal(lambda meta: meta.update({f"{role}.json": promise}))
    with refused("rollback", f"{role}.json"):
        listed(registry)


def test_mix_and_match_files_of_two_moments_do_not_fit(registry: RegistrySimulator) -> None:
    old = registry.role().document
    registry.publish(version="1.0.1")
    registry.host.files["metadata/2.acme.json"] = old.data
    with refused("wrong-digest", "2.acme.json"):
        listed(registry)


def test_mix_and_match_an_old_snapshot_under_a_new_number_does_not_fit(registry: RegistrySimulator) -> None:
    state = registry.state()
    number = state.versions.snapshot
    registry.publish(version="1.0.1")
    registry.host.files[f"metadata/{number + 1}.snapshot.json"] = registry.host.files[
        f"metadata/{number}.snapshot.json"
    ]
    with refused("wrong-digest", "snapshot.json"):
        listed(registry)


def test_endless_data_a_timestamp_without_end_is_given_up_early(registry: RegistrySimulator) -> None:
    registry.host.files[TIMESTAMP] = b"{" + b" " * 50_000_000
    registry.host.read_bytes = 0
    with refused("too-large", "timestamp.json"):
        listed(registry)
    assert registry.host.read_bytes < MAX_BYTES["timestamp"] + MAX_BYTES["root"]


def test_endless_data_a_file_of_a_release_is_not_read_beyond_its_promised_size(registry: RegistrySimulator) -> None:
    client = registry.client()
    entry = client.entries(TOXICITY)[0]
    registry.host.files[f"patches/{entry.path}/prefix.safetensors"] += b"\0" * 50_000_000
    registry.host.read_bytes = 0
    with refused("too-large", "prefix.safetensors"):
        client.fetch(entry)
    assert registry.host.read_bytes < 100_000


def test_wrong_software_another_release_of_the_same_vendor_is_refused(registry: RegistrySimulator) -> None:
    registry.publish(name="acme/bias")
    wanted, other = (registry.client().entries(PatchName.parse(f"acme/{name}"))[0] for name in ("toxicity", "bias"))
    for file in ("manifest.json", "prefix.safetensors", "attestations.jsonl"):
        registry.host.files[f"patches/{wanted.path}/{file}"] = registry.host.files[f"patches/{other.path}/{file}"]
    with refused("wrong-digest", "manifest.json"):
        installed(registry, wanted).require()


def test_wrong_software_a_role_that_lists_one_release_as_another_is_refused(registry: RegistrySimulator) -> None:
    registry.publish(name="acme/bias")
    wanted, other = (registry.client().entries(PatchName.parse(f"acme/{name}"))[0] for name in ("toxicity", "bias"))
    swapped = replace(wanted, manifest=other.manifest, prefix=other.prefix, attestations=other.attestations)
    for file in ("manifest.json", "prefix.safetensors", "attestations.jsonl"):
        registry.host.files[f"patches/{wanted.path}/{file}"] = registry.host.files[f"patches/{other.path}/{file}"]
    with refused("wrong-release", "manifest.json"):
        installed(registry, swapped).require()


def test_key_compromise_one_of_two_vendor_keys_cannot_change_the_role(registry: RegistrySimulator) -> None:
    role = registry.role().document.signed
    role.version += 1
    registry.put_role(role, registry.vendors["acme"][0])
    with refused("too-few-signatures", "2.acme.json"):
        listed(registry)


def test_key_compromise_another_vendors_key_has_no_say(registry: RegistrySimulator) -> None:
    registry.add_vendor("labx")
    role = registry.role().document.signed
    role.version += 1
    registry.put_role(role, *registry.vendors["acme"], *registry.vendors["labx"])
    with refused("unknown-signer", "2.acme.json"):
        listed(registry)


def test_key_compromise_online_keys_cannot_make_a_vendor(registry: RegistrySimulator) -> None:
    state = registry.state()
    assert state.targets is not None
    targets = state.targets.signed
    targets.version += 1
    document = registry.put(targets, f"{targets.version}.targets.json", registry.keys["snapshot"])
    registry.seal(lambda meta: meta.update({"targets.json": promise_of(document)}))
    with refused("unknown-signer", "targets.json"):
        listed(registry)


def test_key_compromise_a_key_that_root_took_away_counts_no_more(registry: RegistrySimulator) -> None:
    assert listed(registry)
    stolen = registry.keys["timestamp"]
    registry.keys["timestamp"] = generate()
    registry.writer().rotate_root(registry.roles())
    assert listed(registry) == ["1.0.0"]
    state = registry.state()
    assert state.timestamp is not None
    state.timestamp.signed.version += 1
    registry.put(state.timestamp.signed, "timestamp.json", stolen)
    with refused("unknown-signer", "timestamp.json"):
        listed(registry)


@pytest.mark.parametrize(
    ("signers", "code"),
    [(["root"], "too-few-signatures"), (["new"], "too-few-signatures"), (["root", "root2", "x"], "unknown-signer")],
)
def test_key_compromise_a_new_root_needs_enough_of_the_old_keys(
    registry: RegistrySimulator, signers: list[str], code: str
) -> None:
    keys = registry.keys | {"new": generate(), "x": generate()}
    top = replace(registry.roles(), root=keys_of(keys["new"]))
    if "new" not in signers:
        top = registry.roles()
    registry.put(root_of(top, 2, registry.now + timedelta(days=9)), "2.root.json", *(keys[name] for name in signers))
    with refused(code, "2.root.json"):
        listed(registry)


def test_key_compromise_a_new_root_must_also_be_signed_by_its_own_keys(registry: RegistrySimulator) -> None:
    top = replace(registry.roles(), root=keys_of(generate()))
    old = [registry.keys["root"], registry.keys["root2"]]
    registry.put(root_of(top, 2, registry.now + timedelta(days=9)), "2.root.json", *old)
    with refused("too-few-signatures", "2.root.json"):
        listed(registry)


def test_mix_and_match_a_root_without_consistent_snapshots_is_refused(registry: RegistrySimulator) -> None:
    root = root_of(registry.roles(), 2, registry.now + timedelta(days=9))
    root.consistent_snapshot = False
    registry.put(root, "2.root.json", registry.keys["root"], registry.keys["root2"])
    with refused("malformed-metadata", "2.root.json"):
        listed(registry)


def test_rollback_a_root_that_skips_or_repeats_a_version_is_refused(registry: RegistrySimulator) -> None:
    old = [registry.keys["root"], registry.keys["root2"]]
    for version in (1, 3):
        registry.put(root_of(registry.roles(), version, registry.now + timedelta(days=9)), "2.root.json", *old)
        with refused("rollback", "2.root.json"):
            listed(registry)


def test_fast_forward_stolen_keys_block_known_clients_until_root_changes_them(registry: RegistrySimulator) -> None:
    registry.seal(version=2**31 - 1)
    assert listed(registry) == ["1.0.0"]
    registry.seal(version=100)
    with refused("rollback"):
        listed(registry)
    registry.keys["snapshot"] = generate()
    registry.keys["timestamp"] = generate()
    registry.writer().rotate_root(registry.roles())
    registry.publish(version="1.0.1")
    assert listed(registry) == ["1.0.0", "1.0.1"]


def test_fast_forward_the_recovered_registry_counts_from_one_again(registry: RegistrySimulator) -> None:
    registry.seal(version=2**31 - 1)
    seen = registry.client().state.versions
    registry.keys["timestamp"] = generate()
    registry.writer().rotate_root(registry.roles())
    state = registry.client().state
    assert (state.versions.timestamp, state.versions.snapshot) == (1, 1)
    state.check_not_below(seen)


def test_malicious_mirror_another_registry_at_the_same_address_is_refused(
    registry: RegistrySimulator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = RegistrySimulator(tmp_path_factory.mktemp("other"))
    registry.host.files = other.host.files
    with refused("root-mismatch", "1.root.json"):
        listed(registry)


@pytest.mark.parametrize("file", ["timestamp.json", "3.snapshot.json", "2.targets.json", "1.acme.json"])
def test_malicious_mirror_metadata_held_back_is_an_error_and_not_an_empty_registry(
    registry: RegistrySimulator, file: str
) -> None:
    del registry.host.files[f"metadata/{file}"]
    with refused("missing-metadata", file):
        listed(registry)


@pytest.mark.parametrize("file", ["manifest.json", "prefix.safetensors", "attestations.jsonl"])
def test_malicious_mirror_a_file_held_back_is_an_error(registry: RegistrySimulator, file: str) -> None:
    client = registry.client()
    entry = client.entries(TOXICITY)[0]
    del registry.host.files[f"patches/{entry.path}/{file}"]
    with refused("missing-file", file):
        client.fetch(entry)


@pytest.mark.parametrize(
    "path",
    [
        "labx/toxicity/1.0.0/0123456789ab",
        "acme/../labx/0123456789ab",
        "acme/toxicity/1.0.0",
        "acme/toxicity/1.0.0/0123456789ab/x",
        "acme//1.0.0/0123456789ab",
        "/acme/toxicity/1.0.0",
        "acme/Toxicity/1.0.0/0123456789ab",
        "acme/toxicity/01.0.0/0123456789ab",
    ],
)
def test_a_vendor_cannot_list_what_lies_outside_its_namespace(registry: RegistrySimulator, path: str) -> None:
    role = registry.role()
    target = role.targets[registry.client().entries(TOXICITY)[0].path]
    signed = vendor_targets({path: target}, 2, registry.now + timedelta(days=9))
    registry.put_role(signed, *registry.vendors["acme"])
    client = registry.client()
    with pytest.raises(PatchpmError) as caught:
        [entry for name in client.names("acme") for entry in client.entries(name)]
    assert caught.value.code in ("outside-namespace", "malformed-metadata")
    assert "2.acme.json" in str(caught.value)


def test_a_vendor_cannot_delegate_to_others(registry: RegistrySimulator) -> None:
    state = registry.state()
    assert state.targets is not None
    role = registry.role().document.signed
    made = Targets(2, role.spec_version, role.expires, role.targets, state.targets.signed.delegations)
    registry.put_role(made, *registry.vendors["acme"])
    with refused("malformed-metadata", "2.acme.json"):
        listed(registry)


@pytest.mark.parametrize("wider", ["paths", "terminating"])
def test_a_delegation_that_is_wider_than_its_vendor_is_refused(registry: RegistrySimulator, wider: str) -> None:
    state = registry.state()
    assert state.targets is not None
    targets = state.targets.signed
    assert targets.delegations is not None
    assert targets.delegations.roles is not None
    if wider == "paths":
        targets.delegations.roles["acme"].paths = ["*/*/*/*"]
    else:
        targets.delegations.roles["acme"].terminating = False
    targets.version += 1
    document = registry.put(targets, f"{targets.version}.targets.json", registry.keys["targets"])
    registry.seal(lambda meta: meta.update({"targets.json": promise_of(document)}))
    with refused("malformed-metadata", "targets.json"):
        listed(registry)


def test_top_level_targets_cannot_list_releases_over_the_vendors_head(registry: RegistrySimulator) -> None:
    state = registry.state()
    assert state.targets is not None
    targets = state.targets.signed
    targets.targets = dict(registry.role().targets)
    targets.version += 1
    document = registry.put(targets, f"{targets.version}.targets.json", registry.keys["targets"])
    registry.seal(lambda meta: meta.update({"targets.json": promise_of(document)}))
    with refused("malformed-metadata", "targets.json"):
        listed(registry)


def test_a_clock_that_is_set_back_does_not_bring_an_old_state_back(registry: RegistrySimulator) -> None:
    old = registry.host.files[TIMESTAMP]
    registry.publish(version="1.0.1")
    assert listed(registry)
    registry.host.files[TIMESTAMP] = old
    registry.now = datetime(2020, 1, 1, tzinfo=UTC)
    with refused("rollback", "timestamp.json"):
        listed(registry)
