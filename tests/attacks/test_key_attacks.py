"""Attacks on the counting of keys: one key counted twice, keys that fit everything, thresholds of nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, MetaFile, Root

from patchpm.errors import PatchpmError
from patchpm.patch import strict_json
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.prefix import write_prefix
from patchpm.patch.release import ReleaseFiles
from patchpm.registry.roles import promise_of
from patchpm.trust.attestations import read_attestations, sign_release, write_attestations
from patchpm.trust.envelope import Envelope, Signature, pae, sign, write_envelope
from patchpm.trust.keys import PublicKey
from patchpm.trust.policy import Policy, key_set
from patchpm.trust.policy_toml import read_policy
from patchpm.trust.private_keys import PrivateKey, generate
from patchpm.trust.release import Verdict, verify_release
from tests.builders import manifest, matrix
from tests.simulator import START, TIMESTAMP, RegistrySimulator, refused

SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
"""All points whose order divides eight, as Ed25519 writes them."""
TWICE_THE_SAME = [
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
"""Other spellings of some of them, which a careful reader must not take for new points."""


def verdict(files: ReleaseFiles, *keys: PublicKey, threshold: int) -> Verdict:
    return verify_release(files, keys=keys, threshold=threshold, policy=Policy(), now=START)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_small_order_keys_are_refused_wherever_a_key_is_read(point: str) -> None:
    raw = bytes.fromhex(point)
    text = f"ed25519:{base64.b64encode(raw).decode()}"
    with refused("weak-key"):
        PublicKey.parse(text)
    with refused("malformed-policy", "must not be trusted"):
        read_policy(f'version = 1\n[[vendor]]\nname = "acme"\nkeys = ["{text}"]\nthreshold = 1\n')


@pytest.mark.parametrize("point", TWICE_THE_SAME)
def test_small_order_keys_are_refused_in_every_spelling(point: str) -> None:
    with pytest.raises(PatchpmError) as caught:
        PublicKey("ed25519", bytes.fromhex(point))
    assert caught.value.code in ("weak-key", "malformed-key")


def test_a_small_order_key_would_have_signed_everything() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    identity = bytes.fromhex(SMALL_ORDER[0])
    Ed25519PublicKey.from_public_bytes(identity).verify(identity + bytes(32), b"any message at all")


def test_a_small_order_key_in_registry_metadata_is_refused(registry: RegistrySimulator) -> None:
    weak = SSlibKey("00" * 32, "ed25519", "ed25519", {"public": SMALL_ORDER[0]})
    _edit_delegation(registry, lambda role, keys: _add(role, keys, "00" * 32, weak))
    with refused("weak-key"):
        registry.client().vendor_keys("acme")


def test_key_aliasing_in_a_delegation_is_refused(registry: RegistrySimulator) -> None:
    def alias(role: Any, keys: dict[str, Any]) -> None:
        real = keys[role.keyids[0]]
        _add(role, keys, "11" * 32, SSlibKey("11" * 32, real.keytype, real.scheme, real.keyval))

    _edit_delegation(registry, alias)
    with refused("key-alias", "targets.json"):
        registry.client().vendor_keys("acme")


def test_key_aliasing_in_root_is_refused(registry: RegistrySimulator) -> None:
    root = Metadata[Root].from_bytes(registry.host.files["metadata/1.root.json"]).signed
    real = root.keys[registry.keys["root"].public.id]
    root.keys["22" * 32] = SSlibKey("22" * 32, real.keytype, real.scheme, real.keyval)
    root.roles["root"].keyids.append("22" * 32)
    root.version = 2
    registry.put(root, "2.root.json", registry.keys["root"], registry.keys["root2"])
    with refused("key-alias", "2.root.json"):
        registry.client().vendors()


def test_key_aliasing_in_an_envelope_one_key_under_two_ids_counts_once() -> None:
    key, absent = generate(), generate()
    release = _release(key)
    envelope = read_attestations(release.attestations)[0].envelope
    twice = Envelope(
        envelope.payload,
        tuple(sorted([*envelope.signatures, _under(absent.public.id, key, envelope)], key=lambda one: one.key_id)),
    )
    forged = ReleaseFiles(release.manifest, release.prefix, write_attestations([twice]))
    with refused("bad-signature", "attestations.jsonl"):
        verdict(forged, key.public, absent.public, threshold=2).require()


def test_threshold_bypass_two_signatures_by_one_key_are_refused() -> None:
    key, absent = generate(), generate()
    release = _release(key)
    value = json.loads(release.attestations)
    value["signatures"] *= 2
    forged = ReleaseFiles(release.manifest, release.prefix, json.dumps(value).encode() + b"\n")
    with refused("malformed-envelope", "attestations.jsonl"):
        verdict(forged, key.public, absent.public, threshold=2).require()


def test_threshold_bypass_a_key_given_twice_is_one_key() -> None:
    key = generate()
    with refused("bad-threshold"):
        verdict(_release(key), key.public, key.public, threshold=2).require()


@pytest.mark.parametrize("threshold", [0, -1, 3])
def test_threshold_bypass_a_threshold_outside_the_keys_is_refused(threshold: int) -> None:
    key, other = generate(), generate()
    with refused("bad-threshold"):
        key_set([key.public, other.public], threshold)
    with refused("bad-threshold"):
        verdict(_release(key, other), key.public, other.public, threshold=threshold).require()


@pytest.mark.parametrize(
    ("threshold", "code"),
    [(0, "malformed-metadata"), (-1, "malformed-metadata"), (3, "bad-threshold"), (True, "malformed-metadata")],
)
def test_threshold_bypass_in_a_delegation_is_refused(registry: RegistrySimulator, threshold: int, code: str) -> None:
    signed = json.loads(registry.host.files["metadata/2.targets.json"])["signed"]
    signed["delegations"]["roles"][0]["threshold"] = threshold
    signed["version"] = 3
    key = registry.keys["targets"]
    signature: strict_json.JsonValue = {
        "keyid": key.public.id,
        "sig": key.sign(str(encode_canonical(signed)).encode()).hex(),
    }
    data = strict_json.compact({"signatures": [signature], "signed": signed})
    registry.host.files["metadata/3.targets.json"] = data
    registry.seal(lambda meta: meta.update({"targets.json": MetaFile.from_data(3, data, ["sha256"])}))
    with refused(code, "3.targets.json" if code == "malformed-metadata" else "3 signatures"):
        registry.client().vendor_keys("acme")


def test_duplicate_json_key_that_keeps_the_signature_good_is_refused(registry: RegistrySimulator) -> None:
    data = registry.host.files[TIMESTAMP]
    forged = data.replace(b'"signed":{', b'"signed":{"version":4711,')
    before, after = (Metadata.from_bytes(one) for one in (data, forged))
    assert before.signed_bytes == after.signed_bytes
    registry.host.files[TIMESTAMP] = forged
    with refused("malformed-json", "timestamp.json"):
        registry.client().vendors()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b'"signed":{', b'"signed": {'),
        lambda data: data + b"\n",
        lambda data: b" " + data,
        lambda data: data.replace(b'"version":', b'"versi\\u006fn":'),
        lambda data: data.replace(b'"sig":"', b'"sig":"').replace(b'"signatures"', b'"x":1,"signatures"'),
        lambda data: data[: data.index(b'"sig":"')] + data[data.index(b'"sig":"') :].replace(b"a", b"A"),
    ],
    ids=["space", "line feed", "leading space", "escape", "extra field", "upper-case signature"],
)
def test_metadata_spelt_otherwise_is_refused_although_its_signature_is_good(
    registry: RegistrySimulator, change: Callable[[bytes], bytes]
) -> None:
    data = registry.host.files[TIMESTAMP]
    assert change(data) != data
    registry.host.files[TIMESTAMP] = change(data)
    with pytest.raises(PatchpmError, match=r"timestamp\.json") as caught:
        registry.client().vendors()
    assert caught.value.code in ("malformed-metadata", "malformed-json")


def test_metadata_with_signed_fields_that_nobody_knows_is_refused(registry: RegistrySimulator) -> None:
    state = registry.state()
    assert state.timestamp is not None
    state.timestamp.signed.version += 1
    state.timestamp.signed.unrecognized_fields["x-more"] = 1
    registry.put(state.timestamp.signed, "timestamp.json", registry.keys["timestamp"])
    with refused("malformed-metadata", "timestamp.json"):
        registry.client().vendors()


def test_a_key_that_is_written_otherwise_is_refused(registry: RegistrySimulator) -> None:
    ecdsa = registry.vendors["acme"][1].public

    def respell(role: Any, keys: dict[str, Any]) -> None:
        keys[ecdsa.id].keyval["public"] += "\n"

    _edit_delegation(registry, respell)
    with refused("malformed-metadata", "targets.json"):
        registry.client().vendor_keys("acme")


def test_a_surplus_signature_is_refused(registry: RegistrySimulator) -> None:
    state = registry.state()
    assert state.timestamp is not None
    registry.put(state.timestamp.signed, "timestamp.json", registry.keys["timestamp"], generate())
    with refused("unknown-signer", "timestamp.json"):
        registry.client().vendors()


def test_a_signature_for_another_payload_type_is_refused() -> None:
    key = generate()
    release = _release(key)
    payload = read_attestations(release.attestations)[0].envelope.payload
    signature = _Fixed(key, pae(payload, "application/json"))
    forged = ReleaseFiles(release.manifest, release.prefix, write_envelope(sign(payload, [signature])) + b"\n")
    with refused("bad-signature", "attestations.jsonl"):
        verdict(forged, key.public, threshold=1).require()


class _Fixed:
    """Signs one message, whatever it is asked to sign."""

    def __init__(self, key: PrivateKey, message: bytes) -> None:
        self.public = key.public
        self._signature = key.sign(message)

    def sign(self, data: bytes) -> bytes:
        assert data
        return self._signature


def _release(*keys: PrivateKey) -> ReleaseFiles:
    return sign_release(write_manifest(manifest()), write_prefix(matrix()), keys)


def _under(key_id: str, key: PrivateKey, envelope: Envelope) -> Signature:
    return Signature(key_id, key.sign(pae(envelope.payload)))


def _add(role: Any, keys: dict[str, Any], key_id: str, key: SSlibKey) -> None:
    keys[key_id] = key
    role.keyids.append(key_id)


def _edit_delegation(registry: RegistrySimulator, change: Callable[[Any, dict[str, Any]], None]) -> None:
    state = registry.state()
    assert state.targets is not None
    targets = state.targets.signed
    assert targets.delegations is not None
    assert targets.delegations.roles is not None
    change(targets.delegations.roles["acme"], targets.delegations.keys)
    targets.version += 1
    document = registry.put(targets, f"{targets.version}.targets.json", registry.keys["targets"])
    registry.seal(lambda meta: meta.update({"targets.json": promise_of(document)}))
