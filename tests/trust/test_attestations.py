from __future__ import annotations

import base64
import json

import pytest

from patchpm.patch.digest import Digest
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.prefix import write_prefix
from patchpm.trust.attestations import attest, countersign_release, read_attestations, sign_release
from patchpm.trust.envelope import PAYLOAD_TYPE, pae, read_envelope, sign, write_envelope
from patchpm.trust.private_keys import generate
from patchpm.trust.statement import EVALUATION, RELEASE, ReleaseClaim, read_statement
from tests.builders import manifest, matrix
from tests.simulator import refused

MANIFEST = write_manifest(manifest())
PREFIX = write_prefix(matrix())


def test_the_encoding_that_is_signed_is_that_of_the_dsse_protocol() -> None:
    # The example of protocol.md.
    assert pae(b"hello world", "http://example.com/HelloWorld") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_an_envelope_is_what_other_dsse_tools_expect() -> None:
    from securesystemslib.dsse import Envelope as OtherEnvelope
    from securesystemslib.signer import SSlibKey

    key = generate()
    ours = write_envelope(sign(b"{}", [key]))
    other = OtherEnvelope.from_dict(json.loads(ours))
    assert other.payload_type == PAYLOAD_TYPE
    public = SSlibKey(key.public.id, "ed25519", "ed25519", {"public": key.public.raw.hex()})
    assert other.verify([public], 1)


def test_a_statement_is_an_in_toto_statement_about_exactly_two_files() -> None:
    files = sign_release(MANIFEST, PREFIX, [generate()])
    value = json.loads(base64.b64decode(json.loads(files.attestations)["payload"]))
    made = manifest()
    assert value == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "manifest.json", "digest": {"sha256": Digest.of(MANIFEST).hex}},
            {"name": "prefix.safetensors", "digest": {"sha256": Digest.of(PREFIX).hex}},
        ],
        "predicateType": RELEASE,
        "predicate": {"name": "acme/toxicity", "version": "1.0.0", "base": str(made.base.tensors)},
    }


def test_the_same_release_and_keys_give_the_same_bytes_in_any_order_of_signing() -> None:
    first, second = generate(), generate("p256")
    together = sign_release(MANIFEST, PREFIX, [first, second])
    assert together == sign_release(MANIFEST, PREFIX, [second, first])
    assert together == countersign_release(sign_release(MANIFEST, PREFIX, [second]), first)
    assert together == countersign_release(together, first)


def test_further_statements_are_kept_in_order_and_unknown_types_are_not_lost() -> None:
    files = sign_release(MANIFEST, PREFIX, [generate()])
    files = attest(files, EVALUATION, {"suite": "x", "n": 3, "nested": {"a": [1, None, True]}}, [generate()])
    files = attest(files, "https://example.org/approval/v7", {}, [generate()])
    found = [item.statement for item in read_attestations(files.attestations)]
    assert [item.predicate_type for item in found] == [RELEASE, EVALUATION, "https://example.org/approval/v7"]
    assert found[1].predicate == {"suite": "x", "n": 3, "nested": {"a": [1, None, True]}}
    assert ReleaseClaim.read(found[0]) == ReleaseClaim.of(manifest())


def test_signatures_must_stand_in_the_order_of_key_ids() -> None:
    files = sign_release(MANIFEST, PREFIX, [generate(), generate()])
    value = json.loads(files.attestations)
    value["signatures"].reverse()
    with refused("malformed-envelope", "attestations.jsonl"):
        read_envelope(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("payloadType", "application/json"),
        ("payload", "e30"),
        ("payload", "e3 0="),
        ("payload", 7),
        ("signatures", []),
        ("signatures", {}),
        ("signatures", [{"keyid": "x", "sig": "AAAA"}]),
        ("signatures", [{"keyid": "0" * 64}]),
        ("signatures", [{"keyid": "0" * 64, "sig": "AAAA", "cert": ""}]),
        ("signatures", [{"keyid": f"{number:064x}", "sig": "AAAA"} for number in range(33)]),
        ("extra", 1),
    ],
)
def test_malformed_envelopes_are_refused(key: str, value: object) -> None:
    good = json.loads(write_envelope(sign(b"{}", [generate()])))
    with refused("malformed-envelope", "attestations.jsonl"):
        read_envelope(json.dumps(good | {key: value}).encode())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("subject", []),
        ("subject", [{"name": "manifest.json", "digest": {"sha256": "0" * 64}}]),
        ("subject", [{"name": "prefix.safetensors", "digest": {"sha256": "0" * 64}}] * 2),
        ("predicateType", "not an address"),
        ("predicate", []),
        ("predicate", None),
        ("extra", 1),
    ],
)
def test_malformed_statements_are_refused(key: str, value: object) -> None:
    payload = read_attestations(sign_release(MANIFEST, PREFIX, [generate()]).attestations)[0].envelope.payload
    with refused("malformed-statement", "attestations.jsonl"):
        read_statement(json.dumps(json.loads(payload) | {key: value}).encode())


def test_too_many_statements_are_refused() -> None:
    files = sign_release(MANIFEST, PREFIX, [generate()])
    with refused("malformed-attestations"):
        read_attestations(files.attestations * 65)
