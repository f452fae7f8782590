"""`attestations.jsonl`: the signed statements that travel with a release, one envelope a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from patchpm.errors import CannotError, IntegrityError
from patchpm.patch.manifest_json import read_manifest
from patchpm.patch.release import ATTESTATIONS, MAX_BYTES, ReleaseFiles
from patchpm.patch.strict_json import JsonValue
from patchpm.trust.envelope import Envelope, read_envelope, sign, write_envelope
from patchpm.trust.private_keys import Signer
from patchpm.trust.statement import RELEASE, ReleaseClaim, Statement, read_statement, subjects_of, write_statement

MAX_ATTESTATIONS: Final = 64
"""Most statements about one release."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """An envelope together with what it says."""

    envelope: Envelope
    statement: Statement


def read_attestations(data: bytes) -> tuple[Attestation, ...]:
    """Read an `attestations.jsonl`. No signature is checked here.

    Raises:
        IntegrityError: `malformed-attestations`, `malformed-json`, `malformed-envelope` or `malformed-statement`.
    """
    if len(data) > MAX_BYTES[ATTESTATIONS]:
        raise _malformed(f"it has {len(data):,} bytes, and at most {MAX_BYTES[ATTESTATIONS]:,} are allowed")
    lines = data.split(b"\n")
    if lines.pop() or not lines:
        raise _malformed("it must hold one or more lines, each ended by a line feed")
    if len(lines) > MAX_ATTESTATIONS:
        raise _malformed(f"it holds {len(lines)} statements, and at most {MAX_ATTESTATIONS} are allowed")
    return tuple(_attestation(line, f"{ATTESTATIONS}: line {number}") for number, line in enumerate(lines, start=1))


def write_attestations(envelopes: Sequence[Envelope]) -> bytes:
    """Write an `attestations.jsonl`."""
    return b"".join(write_envelope(envelope) + b"\n" for envelope in envelopes)


def sign_release(manifest: bytes, prefix: bytes, signers: Iterable[Signer]) -> ReleaseFiles:
    """Make a release of a manifest and a prefix: the vendor's statement about them, signed by each of `signers`.

    Raises:
        IntegrityError: where `manifest` is not a manifest.
    """
    claim = ReleaseClaim.of(read_manifest(manifest)).to_json()
    return ReleaseFiles(manifest, prefix, write_attestations([_signed(RELEASE, manifest, prefix, claim, signers)]))


def countersign_release(files: ReleaseFiles, signer: Signer) -> ReleaseFiles:
    """Add a signature to the vendor's own statement, as the second key of a threshold of two does.

    Raises:
        IntegrityError: where the attestations cannot be read.
    """
    envelopes = [
        item.envelope.with_signature(signer) if item.statement.predicate_type == RELEASE else item.envelope
        for item in read_attestations(files.attestations)
    ]
    return ReleaseFiles(files.manifest, files.prefix, write_attestations(envelopes))


def attest(
    files: ReleaseFiles, predicate_type: str, predicate: Mapping[str, JsonValue], signers: Iterable[Signer]
) -> ReleaseFiles:
    """Add a statement about a release, as an evaluator does. One that is there already is not added again.

    Raises:
        IntegrityError: where the attestations cannot be read.
        CannotError: `attestations-full`.
    """
    envelopes = [item.envelope for item in read_attestations(files.attestations)]
    made = _signed(predicate_type, files.manifest, files.prefix, predicate, signers)
    if made in envelopes:
        return files
    envelopes.append(made)
    data = write_attestations(envelopes)
    if len(envelopes) > MAX_ATTESTATIONS or len(data) > MAX_BYTES[ATTESTATIONS]:
        raise CannotError(
            "attestations-full",
            f"{ATTESTATIONS} has no room for another statement",
            why=f"it would hold {len(envelopes)} in {len(data):,} bytes; "
            f"{MAX_ATTESTATIONS} in {MAX_BYTES[ATTESTATIONS]:,} are allowed",
        )
    return ReleaseFiles(files.manifest, files.prefix, data)


def _signed(
    predicate_type: str, manifest: bytes, prefix: bytes, predicate: Mapping[str, JsonValue], signers: Iterable[Signer]
) -> Envelope:
    return sign(write_statement(Statement(predicate_type, subjects_of(manifest, prefix), predicate)), signers)


def _attestation(line: bytes, place: str) -> Attestation:
    envelope = read_envelope(line, place=place)
    return Attestation(envelope, read_statement(envelope.payload, place=place))


def _malformed(why: str) -> IntegrityError:
    return IntegrityError("malformed-attestations", f"{ATTESTATIONS} is malformed", why=why)
