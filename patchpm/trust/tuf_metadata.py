"""One piece of TUF metadata: strict reading, writing, keys, signatures and expiry.

The library `tuf` gives the payload classes and the canonical form that signatures cover. That form leaves room to
change bytes without breaking a signature (a duplicate key, white space, an upper-case signature, a surplus one), so
this is stricter than the specification: strict JSON first, one written form, and every signature must be a good one.

Source: https://theupdateframework.github.io/specification/v1.0.33/, section 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from securesystemslib.signer import Key, Signature, SSlibKey
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError, SerializationError
from tuf.api.serialization.json import CanonicalJSONSerializer

from patchpm.errors import IntegrityError, PatchpmError, TrustError
from patchpm.patch import strict_json
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.trust.keys import ED25519, PublicKey
from patchpm.trust.policy import KeySet, key_set
from patchpm.trust.private_keys import Signer, read_public_key

ROOT: Final = "root"
TIMESTAMP: Final = "timestamp"
SNAPSHOT: Final = "snapshot"
TARGETS: Final = "targets"
TOP_LEVEL: Final = (ROOT, TIMESTAMP, SNAPSHOT, TARGETS)
BIN: Final = "bin"
"""The signed field in which a bin (`patchpm.trust.tuf_bins`) says which one it is."""

MAX_BYTES: Final = {ROOT: 256 * 1024, TIMESTAMP: 16 * 1024, SNAPSHOT: 4 * 1024 * 1024, TARGETS: 32 * 1024 * 1024}
"""Largest size of each kind of metadata, whatever a signature says; a vendor's role counts as `TARGETS`."""
MAX_VERSION: Final = 2**31
"""Highest version number accepted."""
_MAX_SIGNATURES: Final = 32

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Document(Generic[_T]):
    """Metadata whose form is good; whether it is to be believed is `check_signatures`'s and the state's to say."""

    name: str
    """File name, for errors."""
    data: bytes
    """As read."""
    metadata: Metadata[_T]

    @property
    def signed(self) -> _T:
        """What the signatures cover."""
        return self.metadata.signed

    @property
    def version(self) -> int:
        """Version of this metadata."""
        return self.metadata.signed.version


def read_document(
    data: bytes, kind: type[_T], name: str, *, hashed: bool = False, place: str | None = None
) -> Document[_T]:
    """Read metadata strictly.

    Args:
        data: The file.
        kind: What it must be.
        name: What it is called, for errors.
        hashed: Whether the digest of these very bytes was promised; otherwise they must be in the one written form.
        place: Which bin it must say that it is; None for what is no bin.

    Raises:
        IntegrityError: `malformed-json` or `malformed-metadata`.
    """
    strict_json.loads(data, source=name, max_bytes=MAX_BYTES[kind.type])
    try:
        metadata: Metadata[_T] = Metadata.from_bytes(data)
    except DeserializationError as error:
        raise malformed(name, f"{error.__cause__!r}"[:200]) from None
    signed = metadata.signed
    if not isinstance(signed, kind):
        raise malformed(name, f"it is of the type {signed.type}, not {kind.type}")
    if type(signed.version) is not int or signed.version > MAX_VERSION:
        raise malformed(name, "its version is no integer of at most 2**31")
    fields = {} if place is None else {BIN: place}
    if metadata.unrecognized_fields or signed.unrecognized_fields != fields:
        raise malformed(name, "it has unknown fields" if place is None else f"it does not say that it is bin {place}")
    try:
        if not hashed and metadata.to_bytes() != data:
            raise malformed(name, "it is not in the written form: compact JSON with sorted keys")
    except SerializationError as error:
        raise malformed(name, f"{error.__cause__!r}"[:200]) from None
    return Document(name, data, metadata)


def check_signatures(document: Document[_T], wanted: Sequence[KeySet]) -> None:
    """Make sure that enough keys of each of `wanted` signed, and that nobody else did.

    Raises:
        TrustError: `bad-signature`, `unknown-signer` or `too-few-signatures`.
    """
    known = {key.id: key for party in wanted for key in party.keys}
    signatures = document.metadata.signatures
    if len(signatures) > _MAX_SIGNATURES:
        raise malformed(document.name, f"it has {len(signatures)} signatures")
    try:
        message = CanonicalJSONSerializer().serialize(document.metadata.signed)
    except SerializationError as error:
        raise malformed(document.name, f"{error.__cause__!r}"[:200]) from None
    signers = set()
    for key_id, signature in signatures.items():
        key = known.get(key_id)
        if key is None:
            raise _untrusted("unknown-signer", document.name, f"the key {key_id[:64]!r} has no say over it")
        if re.fullmatch("([0-9a-f]{2})+", signature.signature, re.ASCII) is None or signature.unrecognized_fields:
            raise malformed(document.name, "a signature is not lowercase hex")
        if not key.verify(bytes.fromhex(signature.signature), message):
            raise _untrusted("bad-signature", document.name, f"the signature by {key} does not fit")
        signers.add(key)
    for party in wanted:
        count = len(signers & party.keys)
        if count < party.threshold:
            why = f"{count} of its {len(party.keys)} keys signed, and {party.threshold} must"
            raise _untrusted("too-few-signatures", document.name, why)


def check_version(document: Document[_T], promised: int) -> None:
    """Make sure that metadata has the version that was promised.

    Raises:
        TrustError: `rollback`.
    """
    if document.version != promised:
        raise rollback(document.name, f"it is version {document.version}, and {promised} was promised")


def check_fresh(document: Document[_T], now: datetime) -> None:
    """Make sure that metadata has not expired.

    Raises:
        TrustError: `expired-metadata`.
    """
    expires = document.signed.expires
    if now >= expires:
        raise TrustError(
            "expired-metadata",
            f"{document.name} of the registry has expired",
            why=f"it was good until {expires:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M}",
            next="ask whoever runs the registry to sign it again; a mirror that hides updates looks the same",
        )


def check_bytes(data: bytes, promised: FileRef, name: str) -> None:
    """Make sure that metadata is the file that other metadata promised.

    Raises:
        IntegrityError: `wrong-digest`.
    """
    if len(data) != promised.size or Digest.of(data) != promised.digest:
        raise IntegrityError(
            "wrong-digest",
            f"{name} is not the file that the registry promised",
            why=f"promised are {promised.size:,} bytes with {promised.digest}; found are {len(data):,}",
            next="run it again; if it stays so, tell whoever runs the registry",
        )


def role_keys(role: Role, keys: Mapping[str, Key], name: str) -> KeySet:
    """The keys of a role. Every id must be that of its key, so that one key cannot be counted under two ids.

    Raises:
        TrustError: `key-alias`, `malformed-key`, `weak-key` or `bad-threshold`.
        IntegrityError: `malformed-metadata`.
    """
    found = []
    for key_id in role.keyids:
        if key_id not in keys:
            raise malformed(name, f"it names a key that it does not hold: {key_id[:64]!r}")
        key = _public(keys[key_id], name)
        if key.id != key_id:
            raise _untrusted(
                "key-alias", name, f"it lists the key {key} under the id {key_id[:64]!r} instead of {key.id}"
            )
        found.append(key)
    if type(role.threshold) is not int:
        raise malformed(name, "a threshold is not an integer")
    with _in(name):
        return key_set(found, role.threshold)


def to_tuf_key(key: PublicKey) -> Key:
    """The key as metadata lists it."""
    if key.scheme == ED25519:
        return SSlibKey(key.id, "ed25519", "ed25519", {"public": key.raw.hex()})
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    pem = load_der_public_key(key.spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return SSlibKey(key.id, "ecdsa", "ecdsa-sha2-nistp256", {"public": pem})


def sign_document(signed: _T, signers: Iterable[Signer], name: str) -> Document[_T]:
    """Sign metadata by each of `signers`, and write it. The same input always gives the same bytes."""
    message = CanonicalJSONSerializer().serialize(signed)
    made = sorted((signer.public.id, signer.sign(message).hex()) for signer in signers)
    metadata = Metadata(signed, {key_id: Signature(key_id, signature) for key_id, signature in made})
    return Document(name, metadata.to_bytes(), metadata)


def promised_file(meta: Mapping[str, MetaFile], file: str, name: str) -> tuple[int, FileRef]:
    """Version, size and digest that metadata called `name` promises for `file`.

    Raises:
        IntegrityError: `malformed-metadata` where it leaves one of them out.
    """
    found = meta.get(file)
    if found is None:
        raise malformed(name, f"it does not list {file}")
    digest = (found.hashes or {}).get("sha256", "")
    if type(found.version) is not int or type(found.length) is not int or re.fullmatch("[0-9a-f]{64}", digest) is None:
        raise malformed(name, f"it does not give version, length and sha256 of {file}")
    return found.version, FileRef(found.length, Digest(digest))


def malformed(name: str, why: str) -> IntegrityError:
    """The error for metadata that is not of the form it must have."""
    return IntegrityError("malformed-metadata", f"{name} is not acceptable registry metadata", why=why)


def rollback(name: str, why: str) -> TrustError:
    """The error for metadata that is older than what was seen."""
    return TrustError(
        "rollback",
        f"{name} of the registry is older than what was seen before",
        why=why,
        next="this is what an attacker on the way, or a mirror restored from a backup, looks like; ask its operator",
    )


@contextmanager
def _in(name: str) -> Iterator[None]:
    try:
        yield
    except PatchpmError as error:
        raise TrustError(
            error.code, f"{name} of the registry holds keys that must not be used", why=f"{error.what}: {error.why}"
        ) from None


def _public(key: Key, name: str) -> PublicKey:
    try:
        text = key.keyval["public"]
        with _in(name):
            is_ed25519 = key.keytype == "ed25519"
            made = PublicKey(ED25519, bytes.fromhex(text)) if is_ed25519 else read_public_key(text.encode())
    except (KeyError, TypeError, ValueError, AttributeError):
        raise malformed(name, "it holds something that is no public key") from None
    if to_tuf_key(made).to_dict() != key.to_dict():
        raise malformed(name, f"it does not write the key {made} as patchpm does")
    return made


def _untrusted(code: str, name: str, why: str) -> TrustError:
    return TrustError(
        code,
        f"{name} of the registry is not signed as it must be",
        why=why,
        next="do not install from this registry before its operator has explained this",
    )
