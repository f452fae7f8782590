"""What a server says of itself: signed, for this question, and about the patches that it lists."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from patchpm.errors import IntegrityError, TrustError, UsageError
from patchpm.guard.attestation import Fingerprinted, ServedPatch, Serving, read_attestation, write_attestation
from patchpm.patch.digest import Digest
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.trust.envelope import read_envelope, sign, write_envelope
from patchpm.trust.private_keys import generate

NOW = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)
KEY = generate()
SERVING = Serving(
    base=Digest.of(b"base"),
    anchor="system-start",
    patches=(
        ServedPatch(PatchName.parse("acme/toxicity"), Version.parse("1.2.1"), Digest.of(b"one")),
        ServedPatch(PatchName.parse("acme/bias"), Version.parse("1.0.0"), Digest.of(b"two")),
    ),
    engine="vllm 0.32.0",
    fingerprint=Fingerprinted("right", 0.0213, 0.15, NOW),
    time=NOW,
    nonce="abc-123_X",
)


def test_a_statement_comes_back_as_it_was_made() -> None:
    assert read_attestation(write_attestation(SERVING, KEY), KEY.public, nonce="abc-123_X") == SERVING


def test_a_server_that_made_no_check_yet_says_so() -> None:
    early = replace(SERVING, fingerprint=None, nonce=None)
    assert read_attestation(write_attestation(early, KEY), KEY.public) == early


def test_another_key_does_not_do() -> None:
    with pytest.raises(TrustError) as caught:
        read_attestation(write_attestation(SERVING, generate()), KEY.public)
    assert caught.value.code == "bad-signature"


def test_a_changed_statement_does_not_do() -> None:
    envelope = read_envelope(write_attestation(SERVING, KEY).strip())
    changed = replace(envelope, payload=envelope.payload.replace(b"0.32.0", b"0.33.0"))
    with pytest.raises(TrustError) as caught:
        read_attestation(write_envelope(changed), KEY.public)
    assert caught.value.code == "bad-signature"


def test_an_old_answer_to_another_question_does_not_do() -> None:
    with pytest.raises(TrustError) as caught:
        read_attestation(write_attestation(SERVING, KEY), KEY.public, nonce="new")
    assert caught.value.code == "stale-statement"


def test_a_subject_that_is_not_the_digest_of_the_listed_patches_does_not_do() -> None:
    payload = json.loads(read_envelope(write_attestation(SERVING, KEY).strip()).payload)
    payload["predicate"]["patches"].reverse()
    data = write_envelope(sign(json.dumps(payload).encode(), [KEY]))
    with pytest.raises(IntegrityError) as caught:
        read_attestation(data, KEY.public)
    assert caught.value.code == "malformed-statement"


@pytest.mark.parametrize("data", [b"", b"<html>hello</html>", b"{}", b"[]", b'{"payload": ""}'])
def test_a_page_that_is_no_statement_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        read_attestation(data, None)


@pytest.mark.parametrize("nonce", ["", "a b", "x" * 129, 'a"b', "é"])
def test_a_nonce_that_could_steer_anything_is_not_echoed(nonce: str) -> None:
    with pytest.raises(UsageError):
        write_attestation(replace(SERVING, nonce=nonce), KEY)
