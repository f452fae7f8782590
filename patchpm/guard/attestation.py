"""What a server says of itself at `/.well-known/patchpm`: signed, and still only its own word.

A DSSE envelope over an in-toto statement. The subject is the patch set; the predicate says on which base, with which
prefixes in which order, through which engine, what the guard last found, and when. A nonce that the client chose comes
back, so that the answer is made now. The signature says whose word it is. It is no proof against a malicious operator,
who holds the key: for that, hardware would have to attest what runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from patchpm.errors import TrustError, UsageError
from patchpm.guard.verdict import Finding
from patchpm.patch import strict_json
from patchpm.patch.digest import Digest
from patchpm.patch.name import PatchName
from patchpm.patch.patch_set import set_digest
from patchpm.patch.record import Record
from patchpm.patch.strict_json import JsonValue
from patchpm.patch.version import Version
from patchpm.trust.envelope import pae, read_envelope, sign, write_envelope
from patchpm.trust.keys import PublicKey
from patchpm.trust.private_keys import Signer
from patchpm.trust.statement import STATEMENT_TYPE, Statement, write_statement

SERVING: Final = "https://patchpm.dev/serving/v1"
"""Type of the predicate."""
MAX_BYTES: Final = 256 * 1024
_SUBJECT: Final = "patch-set"
_PLACE: Final = "the server's statement"
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_CODE: Final = "malformed-statement"


@dataclass(frozen=True, slots=True)
class ServedPatch:
    """One patch of the set, as the server says."""

    name: PatchName
    version: Version
    prefix: Digest
    """Of `prefix.safetensors`."""


@dataclass(frozen=True, slots=True)
class Fingerprinted:
    """What the server's own guard last found."""

    served: str
    """`right`, or another kind of `patchpm.guard.served`."""
    distance: float | None
    """To the right set; None where the engine gave no answer."""
    threshold: float
    at: datetime

    @classmethod
    def of(cls, finding: Finding, at: datetime) -> Fingerprinted:
        """What to say of a finding."""
        distance = finding.distance
        return cls(finding.served.kind, None if distance is None else round(distance, 4), finding.threshold, at)


@dataclass(frozen=True, slots=True)
class Serving:
    """What a server says that it serves."""

    base: Digest
    """`tensors` digest of the base."""
    anchor: str
    patches: tuple[ServedPatch, ...]
    """In the order in which they stand at the anchor."""
    engine: str
    """For people: `vllm 0.32.0`, `llama.cpp b11549`."""
    fingerprint: Fingerprinted | None
    """None where no check was made yet."""
    time: datetime
    nonce: str | None

    @property
    def set(self) -> Digest:
        """The digest of the patch set, as a lock names it."""
        return set_digest(self.anchor, ((one.name, one.version, one.prefix) for one in self.patches))


def is_nonce(text: str) -> bool:
    """Whether a server should echo this: 1 to 128 characters of base64url."""
    return _NONCE.fullmatch(text) is not None


def write_attestation(serving: Serving, signer: Signer) -> bytes:
    """What `/.well-known/patchpm` answers: one signed envelope, as JSON.

    Raises:
        UsageError: `invalid-nonce`.
    """
    if serving.nonce is not None and not is_nonce(serving.nonce):
        raise UsageError("invalid-nonce", "a nonce has 1 to 128 letters, digits, - and _")
    statement = Statement(SERVING, ((_SUBJECT, serving.set),), _predicate(serving))
    return write_envelope(sign(write_statement(statement), [signer])) + b"\n"


def read_attestation(data: bytes, key: PublicKey | None, *, nonce: str | None = None) -> Serving:
    """Read what a server says, and check whose word it is.

    1. The envelope and the statement are well-formed.
    2. `key` has signed it, where one is given.
    3. The subject is the digest of the very patches that the predicate lists.
    4. The nonce is the one that was asked with, where one was.

    Args:
        data: The answer's body.
        key: Whose signature is needed; None to read what anyone could have written.
        nonce: What was asked with.

    Raises:
        IntegrityError: `malformed-json`, `malformed-envelope`, `malformed-statement`.
        TrustError: `bad-signature`, `stale-statement`.
    """
    envelope = read_envelope(data.strip(), place=_PLACE)
    if key is not None:
        mine = [item for item in envelope.signatures if item.key_id == key.id]
        if not mine or not key.verify(mine[0].signature, pae(envelope.payload)):
            raise TrustError(
                "bad-signature",
                "the server's statement is not signed with its key",
                why=f"expected a signature of {key}",
                next="ask the operator for the key that the server has now, over another way",
            )
    record = Record(strict_json.loads(envelope.payload, source=_PLACE, max_bytes=MAX_BYTES), _PLACE, code=_CODE)
    record.choice("_type", (STATEMENT_TYPE,))
    record.choice("predicateType", (SERVING,))
    subjects = [_subject(one) for one in record.records("subject", max_items=1)]
    serving = _serving(record.record("predicate"))
    record.done()
    if subjects != [serving.set]:
        raise record.refuse("is not the digest of the patches that the predicate lists", "subject")
    if nonce is not None and serving.nonce != nonce:
        raise TrustError(
            "stale-statement",
            "the server's statement was not made for this question",
            why="it does not carry the nonce that it was asked with",
            next="a proxy or a cache may stand in between; ask the server itself",
        )
    return serving


def _predicate(serving: Serving) -> dict[str, JsonValue]:
    found = serving.fingerprint
    return {
        "base": str(serving.base),
        "anchor": serving.anchor,
        "patches": [
            {"name": str(one.name), "version": str(one.version), "prefix": str(one.prefix)} for one in serving.patches
        ],
        "engine": serving.engine,
        "fingerprint": None
        if found is None
        else {
            "served": found.served,
            "distance": found.distance,
            "threshold": found.threshold,
            "at": _written_time(found.at),
        },
        "time": _written_time(serving.time),
        "nonce": serving.nonce,
    }


def _serving(record: Record) -> Serving:
    patches = tuple(_patch(one) for one in record.records("patches", max_items=256))
    found = Serving(
        base=record.digest("base"),
        anchor=record.text("anchor", max_length=40),
        patches=patches,
        engine=record.text("engine", max_length=200),
        fingerprint=_fingerprinted(record.record("fingerprint")) if record.has("fingerprint") else None,
        time=_time(record, "time"),
        nonce=record.text("nonce", pattern=_NONCE.pattern) if record.has("nonce") else None,
    )
    record.done()
    return found


def _patch(record: Record) -> ServedPatch:
    found = ServedPatch(
        record.parse("name", PatchName.parse), record.parse("version", Version.parse), record.digest("prefix")
    )
    record.done()
    return found


def _fingerprinted(record: Record) -> Fingerprinted:
    found = Fingerprinted(
        record.text("served", max_length=40),
        record.number("distance") if record.has("distance") else None,
        record.number("threshold"),
        _time(record, "at"),
    )
    record.done()
    return found


def _subject(record: Record) -> Digest:
    record.choice("name", (_SUBJECT,))
    digests = record.record("digest")
    found = Digest(digests.text("sha256", pattern=r"[0-9a-f]{64}"))
    digests.done()
    record.done()
    return found


def _written_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(record: Record, key: str) -> datetime:
    text = record.text(key, pattern=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise record.refuse("is no time", key) from None
