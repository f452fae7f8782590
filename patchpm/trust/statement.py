"""in-toto statements about a release: which files, and what is said of them.

The subjects are exactly the manifest and the prefix. `attestations.jsonl` carries the statements: none can be about it.

Source: https://github.com/in-toto/attestation, spec/v1/statement.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from patchpm.patch import strict_json
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import Manifest
from patchpm.patch.name import PatchName
from patchpm.patch.record import Record
from patchpm.patch.release import ATTESTATIONS, MANIFEST, MAX_BYTES, PREFIX
from patchpm.patch.strict_json import JsonValue
from patchpm.patch.version import Version

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
RELEASE: Final = "https://patchpm.dev/release/v1"
"""The vendor says: these bytes are this version of this patch for this base model."""
EVALUATION: Final = "https://patchpm.dev/evaluation/v2"
"""Someone measured the release; the predicate holds what and how, see `patchpm.trust.evaluation`."""
EVALUATION_V1: Final = "https://patchpm.dev/evaluation/v1"
"""The same before the predicate had a form: any object. Read for as long as there are such releases, never written."""
SUBJECTS: Final = (MANIFEST, PREFIX)
"""The files that every statement is about, in this order."""
_TYPE_PATTERN: Final = r"https://[!-~]{1,200}"


@dataclass(frozen=True, slots=True)
class Statement:
    """What an envelope says. Nothing here is to be believed before its signatures are checked."""

    predicate_type: str
    """What kind of statement it is: `RELEASE`, `EVALUATION`, or a later one that is kept and not understood."""
    subjects: tuple[tuple[str, Digest], ...]
    """The files it is about."""
    predicate: Mapping[str, JsonValue]
    """What it says of them."""


@dataclass(frozen=True, slots=True)
class ReleaseClaim:
    """The predicate of a release statement."""

    name: PatchName
    version: Version
    base: Digest
    """`tensors` digest of the base model."""

    @classmethod
    def of(cls, manifest: Manifest) -> ReleaseClaim:
        """What a statement about this manifest must say."""
        return cls(manifest.name, manifest.version, manifest.base.tensors)

    @classmethod
    def read(cls, statement: Statement) -> ReleaseClaim:
        """Read the predicate of a statement of type `RELEASE`.

        Raises:
            IntegrityError: `malformed-statement`.
        """
        record = _record(statement.predicate, f"{ATTESTATIONS}: the predicate of the release statement")
        claim = cls(
            record.parse("name", PatchName.parse), record.parse("version", Version.parse), record.digest("base")
        )
        record.done()
        return claim

    def to_json(self) -> dict[str, JsonValue]:
        """The predicate as JSON."""
        return {"name": str(self.name), "version": str(self.version), "base": str(self.base)}


def subjects_of(manifest: bytes, prefix: bytes) -> tuple[tuple[str, Digest], ...]:
    """The subjects of every statement about these two files."""
    return ((MANIFEST, Digest.of(manifest)), (PREFIX, Digest.of(prefix)))


def write_statement(statement: Statement) -> bytes:
    """Write a statement; the same value always gives the same bytes."""
    return strict_json.compact(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": digest.hex}} for name, digest in statement.subjects],
            "predicateType": statement.predicate_type,
            "predicate": dict(statement.predicate),
        }
    )


def read_statement(payload: bytes, *, place: str = ATTESTATIONS) -> Statement:
    """Read the payload of an envelope.

    Raises:
        IntegrityError: `malformed-json` or `malformed-statement`, also for subjects other than the two files.
    """
    record = _record(strict_json.loads(payload, source=place, max_bytes=MAX_BYTES[ATTESTATIONS]), place)
    record.choice("_type", (STATEMENT_TYPE,))
    predicate = record.raw("predicate")
    if not isinstance(predicate, dict):
        raise record.refuse("is not an object", "predicate")
    statement = Statement(
        predicate_type=record.text("predicateType", pattern=_TYPE_PATTERN),
        subjects=tuple(_subject(item) for item in record.records("subject", max_items=len(SUBJECTS))),
        predicate=cast("Mapping[str, JsonValue]", predicate),
    )
    record.done()
    if tuple(name for name, _ in statement.subjects) != SUBJECTS:
        raise record.refuse(f"must be exactly {' and '.join(SUBJECTS)}", "subject")
    return statement


def _subject(record: Record) -> tuple[str, Digest]:
    digests = record.record("digest")
    subject = (record.text("name"), Digest(digests.text("sha256", pattern=r"[0-9a-f]{64}")))
    digests.done()
    record.done()
    return subject


def _record(value: object, place: str) -> Record:
    return Record(value, place, code="malformed-statement")
