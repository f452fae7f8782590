"""One release in a vendor's role: a TUF target whose `custom` field is the resolver's index.

The target stands for the release's `manifest.json`; `custom` gives size and digest of the other two files, and what
resolving needs to know of the manifest.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from tuf.api.metadata import TargetFile

from patchpm.patch.fingerprint import BaseModel
from patchpm.patch.manifest import MAX_TOKENS, FileRef
from patchpm.patch.manifest_json import (
    DOMAIN_PATTERN,
    anchors_from,
    base_from,
    base_to_json,
    compose_from,
    compose_to_json,
    file_from,
    file_to_json,
)
from patchpm.patch.name import PatchName
from patchpm.patch.record import Record
from patchpm.patch.release import ATTESTATIONS, MANIFEST, PREFIX
from patchpm.patch.strict_json import JsonValue
from patchpm.patch.version import Version
from patchpm.registry.index import ReleaseEntry
from patchpm.trust.tuf_metadata import malformed

TIME_PATTERN: Final = r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z"
_MAX_REASON: Final = 300


def read_entry(path: str, target: TargetFile, registry: str, source: str) -> ReleaseEntry:
    """Read one release of a verified vendor's role.

    Args:
        path: `vendor/name/version/base12`.
        target: What the role says of it.
        registry: Alias of the registry.
        source: Name of the role's file, for errors.

    Raises:
        IntegrityError: `malformed-metadata`.
    """
    record = Record(target.custom, f"{source}: {path[:200]}", code="malformed-metadata")
    vendor, name, version, _ = path.split("/")
    place = Record({"name": f"{vendor}/{name}", "version": version}, record.place, code="malformed-metadata")
    entry = ReleaseEntry(
        name=place.parse("name", PatchName.parse),
        version=place.parse("version", Version.parse),
        domain=record.text("domain", pattern=DOMAIN_PATTERN),
        summary=record.text("summary", max_length=200),
        base=base_from(record.record("base")),
        tokens=record.integer("tokens", low=1, high=MAX_TOKENS),
        anchors=anchors_from(record),
        compose=compose_from(record.record("compose")),
        manifest=_manifest(target, record.place),
        prefix=_file(record, "prefix", PREFIX),
        attestations=_file(record, "attestations", ATTESTATIONS),
        published=_published(record),
        yanked=record.text("yanked", max_length=_MAX_REASON) if record.has("yanked") else None,
        registry=registry,
        deprecated=record.text("deprecated", max_length=_MAX_REASON) if record.has("deprecated") else None,
    )
    record.done()
    if entry.path != path:
        raise malformed(source, f"{path[:200]} is not the path of what it lists there, which is {entry.path}")
    return entry


def to_target(entry: ReleaseEntry) -> TargetFile:
    """Write one release for a vendor's role."""
    custom: dict[str, JsonValue] = {
        "domain": entry.domain,
        "summary": entry.summary,
        "base": base_to_json(entry.base),
        "tokens": entry.tokens,
        "anchors": list(entry.anchors),
        "compose": compose_to_json(entry.compose),
        "prefix": file_to_json(entry.prefix),
        "attestations": file_to_json(entry.attestations),
        "published": entry.published,
        "yanked": entry.yanked,
    }
    if entry.deprecated is not None:
        custom["deprecated"] = entry.deprecated
    return TargetFile(entry.manifest.size, {"sha256": entry.manifest.digest.hex}, entry.path, {"custom": custom})


def indexed_base(base: BaseModel) -> BaseModel:
    """What the index keeps of a base: the identity of its weights. The rest stays in the manifest."""
    return replace(base, files=(), tokenizer=None, template=None)


def _published(record: Record) -> str:
    text = record.text("published", pattern=TIME_PATTERN)
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise record.refuse(f"is {text}, which is no date", "published") from None
    return text


def _manifest(target: TargetFile, place: str) -> FileRef:
    digest = target.hashes.get("sha256", "")
    record = Record({"size": target.length, "sha256": f"sha256:{digest}"}, place, code="malformed-metadata")
    return file_from(record, MANIFEST)


def _file(record: Record, key: str, file: str) -> FileRef:
    nested = record.record(key)
    found = file_from(nested, file)
    nested.done()
    return found
