"""DSSE envelopes: some bytes, what they are, and who signed them.

What is signed is the exact payload, so nothing has to be parsed or brought into a normal form before the signature is
known to be good. Envelopes are read strictly, and base64 in its one canonical form, so no byte can change unnoticed.

Source: https://github.com/secure-systems-lab/dsse, protocol.md and envelope.md, version 1.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from patchpm.errors import IntegrityError, TrustError
from patchpm.patch import strict_json
from patchpm.patch.record import Record
from patchpm.patch.release import ATTESTATIONS, MAX_BYTES
from patchpm.trust.keys import PublicKey
from patchpm.trust.private_keys import Signer

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
"""The only type of payload that patchpm signs or accepts."""
MAX_SIGNATURES: Final = 32
"""Most signatures in one envelope."""
_KEY_ID: Final = r"[0-9a-f]{64}"
_MAX_SIGNATURE_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature, and the id of the key that it claims to be from."""

    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with its signatures, none of them checked yet."""

    payload: bytes
    signatures: tuple[Signature, ...]
    """Sorted by key id, at most one for each."""

    def signed_by(self, keys: Iterable[PublicKey]) -> frozenset[PublicKey]:
        """Those of `keys` that signed this payload.

        Signatures under other ids say nothing and are passed over; the result holds keys, so each counts once.

        Raises:
            TrustError: `bad-signature` for a signature that claims one of `keys` and does not fit.
        """
        known = {key.id: key for key in keys}
        message = pae(self.payload)
        found = set()
        for item in self.signatures:
            key = known.get(item.key_id)
            if key is None:
                continue
            if not key.verify(item.signature, message):
                raise TrustError(
                    "bad-signature",
                    f"a signature in {ATTESTATIONS} is wrong",
                    why=f"it claims to be from the key {key} and does not fit what it stands beside",
                    next="do not use this release; get it again from its registry",
                )
            found.add(key)
        return frozenset(found)

    def with_signature(self, signer: Signer) -> Envelope:
        """The same payload, signed by `signer` as well, as when a second person approves a release."""
        key_id = signer.public.id
        others = [item for item in self.signatures if item.key_id != key_id]
        made = Signature(key_id, signer.sign(pae(self.payload)))
        return replace(self, signatures=tuple(sorted([*others, made], key=lambda item: item.key_id)))


def pae(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """The bytes that a DSSE signature is made over (pre-authentication encoding)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, signers: Iterable[Signer]) -> Envelope:
    """Put `payload` into an envelope signed by each of `signers`."""
    envelope = Envelope(payload, ())
    for signer in signers:
        envelope = envelope.with_signature(signer)
    return envelope


def write_envelope(envelope: Envelope) -> bytes:
    """Write an envelope on one line; the same envelope always gives the same bytes."""
    return strict_json.compact(
        {
            "payload": base64.b64encode(envelope.payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"keyid": item.key_id, "sig": base64.b64encode(item.signature).decode()} for item in envelope.signatures
            ],
        }
    )


def read_envelope(data: bytes, *, place: str = ATTESTATIONS) -> Envelope:
    """Read one envelope.

    Args:
        data: One line of `attestations.jsonl`.
        place: Where it stands, for errors.

    Raises:
        IntegrityError: `malformed-json` or `malformed-envelope`.
    """
    value = strict_json.loads(data, source=place, max_bytes=MAX_BYTES[ATTESTATIONS], max_depth=4)
    record = Record(value, place, code="malformed-envelope")
    record.choice("payloadType", (PAYLOAD_TYPE,))
    envelope = Envelope(
        payload=_base64(record, "payload", MAX_BYTES[ATTESTATIONS]),
        signatures=tuple(_signature(item) for item in record.records("signatures", max_items=MAX_SIGNATURES)),
    )
    record.done()
    ids = [item.key_id for item in envelope.signatures]
    if not ids or ids != sorted(set(ids)):
        raise record.refuse("must hold one or more signatures, one for each key, in the order of key ids", "signatures")
    return envelope


def _signature(record: Record) -> Signature:
    made = Signature(record.text("keyid", pattern=_KEY_ID), _base64(record, "sig", _MAX_SIGNATURE_CHARS))
    record.done()
    return made


def _base64(record: Record, key: str, max_length: int) -> bytes:
    text = record.text(key, max_length=max_length)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise record.refuse("is not base64", key) from None
    if base64.b64encode(data).decode() != text:
        raise IntegrityError(
            "malformed-envelope", f"{ATTESTATIONS} is malformed", why=f"{record.place}: {key} is base64 with stray bits"
        )
    return data
