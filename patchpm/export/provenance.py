"""`patchpm.json`: what an exported model says of itself, for people, for the gateway and for the guard.

It is a statement, not a proof: it is not signed, and whoever can write the folder can write it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from patchpm import __version__
from patchpm.errors import CannotError, IntegrityError
from patchpm.patch import strict_json
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import Fingerprint
from patchpm.patch.manifest import ANCHORS, DTYPES, MAX_TOKENS
from patchpm.patch.name import PatchName
from patchpm.patch.patch_set import set_digest
from patchpm.patch.record import Record
from patchpm.patch.strict_json import JsonValue
from patchpm.patch.version import Version

if TYPE_CHECKING:
    from patchpm.export.placed_set import PlacedSet

FILE_NAME: Final = "patchpm.json"
"""Name of the file in an exported folder."""
FORMAT: Final = "patchpm-export-v1"
"""First field of every such file."""
MAX_BYTES: Final = 1 << 20
"""Largest file that is read."""
_MAX_PATCHES: Final = 1000
_MAX_ID: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ExportedPatch:
    """One patch in an export."""

    name: PatchName
    version: Version
    prefix: Digest
    """Of its `prefix.safetensors`."""
    tokens: int


@dataclass(frozen=True, slots=True)
class ExportedBase:
    """The base model under an export, as it was measured when the export was written."""

    tensors: Digest | None
    bf16: Digest | None
    tokenizer: Digest | None
    template: Digest | None

    @classmethod
    def of(cls, found: Fingerprint) -> ExportedBase:
        """What a fingerprint says."""
        return cls(found.tensors, found.bf16, found.tokenizer, found.template)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What an export was made of, and where the rows stand in it."""

    patchpm: str
    """Version that wrote it."""
    set: Digest
    """Identity of the patch set, as the lock records it."""
    anchor: str
    base: ExportedBase
    patches: tuple[ExportedPatch, ...]
    """In the order in which they stand."""
    run_tokens: int
    """Tokens that the prefix adds to a prompt: all rows, and the separators between patches."""
    first_id: int
    """Token id of the first row; those of the others follow."""
    ids: int
    """Number of rows."""
    dtype: str
    """Number type of the rows in the file: one of `DTYPES`."""
    rows: Digest
    """Of the bytes of the rows in the file."""

    @classmethod
    def of(cls, placed: PlacedSet, base: Fingerprint, *, dtype: str, rows: bytes) -> Provenance:
        """Describe an export.

        Args:
            placed: The set in the vocabulary.
            base: The base as it was measured.
            dtype: Number type of the rows as written.
            rows: The bytes of the rows as written.
        """
        patches = placed.patches
        return cls(
            patchpm=__version__,
            set=patches.digest,
            anchor=patches.anchor,
            base=ExportedBase.of(base),
            patches=tuple(ExportedPatch(one.name, one.version, one.digest, one.tokens) for one in patches.patches),
            run_tokens=len(placed.run.ids),
            first_id=placed.first,
            ids=len(placed.names),
            dtype=dtype,
            rows=Digest.of(rows),
        )


def write_provenance(value: Provenance) -> bytes:
    """Write `patchpm.json`; the same value always gives the same bytes."""
    base = value.base
    return strict_json.dumps(
        {
            "format": FORMAT,
            "patchpm": value.patchpm,
            "set": str(value.set),
            "anchor": value.anchor,
            "base": {
                "tensors": _text(base.tensors),
                "bf16": _text(base.bf16),
                "tokenizer": _text(base.tokenizer),
                "template": _text(base.template),
            },
            "patches": [
                {
                    "name": str(patch.name),
                    "version": str(patch.version),
                    "prefix": str(patch.prefix),
                    "tokens": patch.tokens,
                }
                for patch in value.patches
            ],
            "run_tokens": value.run_tokens,
            "ids": {"first": value.first_id, "count": value.ids},
            "rows": {"dtype": value.dtype, "digest": str(value.rows)},
        }
    )


def read_provenance(path: Path) -> Provenance:
    """Read the `patchpm.json` of an exported folder.

    Args:
        path: The folder, or the file itself.

    Raises:
        CannotError: `no-provenance` where it is not there or cannot be read.
        IntegrityError: `malformed-json`, `malformed-provenance`; `unknown-format` for one of a newer patchpm.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        with file.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise CannotError(
            "no-provenance",
            f"{path} is no export of patchpm",
            why=f"{file}: {error.strerror}",
            next="name a folder that `patchpm export` wrote",
        ) from error
    return parse_provenance(data, place=str(file))


def parse_provenance(data: bytes, *, place: str = FILE_NAME) -> Provenance:
    """Read the bytes of a `patchpm.json`.

    Args:
        data: The whole file.
        place: Where it comes from, for errors.

    Raises:
        IntegrityError: `malformed-json`, `malformed-provenance`; `unknown-format` for one of a newer patchpm.
    """
    record = Record(strict_json.loads(data, source=place, max_bytes=MAX_BYTES), FILE_NAME, code="malformed-provenance")
    found = record.text("format", max_length=80)
    if found != FORMAT:
        raise IntegrityError(
            "unknown-format",
            f"{place} is of a format that this patchpm does not know",
            why=f"its format is {found!r}, and this version reads {FORMAT!r}",
            next="update patchpm",
        )
    ids, rows = record.record("ids"), record.record("rows")
    value = Provenance(
        patchpm=record.text("patchpm", max_length=80),
        set=record.digest("set"),
        anchor=record.choice("anchor", ANCHORS),
        base=_base(record.record("base")),
        patches=tuple(_patch(one) for one in record.records("patches", max_items=_MAX_PATCHES)),
        run_tokens=record.integer("run_tokens", low=1, high=_MAX_ID),
        first_id=ids.integer("first", low=0, high=_MAX_ID),
        ids=ids.integer("count", low=1, high=_MAX_ID),
        dtype=rows.choice("dtype", tuple(DTYPES)),
        rows=rows.digest("digest"),
    )
    for part in (record, ids, rows):
        part.done()
    _agree(record, value)
    return value


def _agree(record: Record, value: Provenance) -> None:
    """Refuse a file whose fields contradict each other."""
    if len({patch.name for patch in value.patches}) != len(value.patches):
        raise record.refuse("holds a patch twice", "patches")
    if set_digest(value.anchor, ((one.name, one.version, one.prefix) for one in value.patches)) != value.set:
        raise record.refuse("is not the digest of the patches that are listed", "set")
    if sum(patch.tokens for patch in value.patches) != value.ids or value.run_tokens < value.ids:
        raise record.refuse("do not add up to the tokens of the patches", "ids")


def _base(record: Record) -> ExportedBase:
    keys = ("tensors", "bf16", "tokenizer", "template")
    base = ExportedBase(*(record.digest(key) if record.has(key) else None for key in keys))
    record.done()
    return base


def _patch(record: Record) -> ExportedPatch:
    patch = ExportedPatch(
        record.parse("name", PatchName.parse),
        record.parse("version", Version.parse),
        record.digest("prefix"),
        record.integer("tokens", low=1, high=MAX_TOKENS),
    )
    record.done()
    return patch


def _text(digest: Digest | None) -> JsonValue:
    return None if digest is None else str(digest)
