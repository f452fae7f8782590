"""Reading and writing `patchpm.lock`.

The text is a function of the value: fixed key order, sorted blocks, one element a line, so that two people get the
same bytes and git merges what does not clash. `content` is a digest of everything else, so a hand-edited or
half-merged lock is refused; white space and comments do not count.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import cast

from patchpm.errors import IntegrityError, StaleLockError
from patchpm.patch import strict_toml
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import Fingerprint
from patchpm.patch.manifest import ANCHORS, MAX_TOKENS, FileRef
from patchpm.patch.manifest_json import DOMAIN_PATTERN, MAX_RELATIONS, file_from
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.record import Record
from patchpm.patch.release import ATTESTATIONS, MANIFEST, PREFIX
from patchpm.patch.strict_json import JsonValue, compact
from patchpm.patch.version import Version
from patchpm.project.lock import Composition, Lock, LockedBase, LockedRegistry, LockedRelease
from patchpm.project.lock_conflict import has_conflict
from patchpm.project.project_file import LABEL_PATTERN

FILE = "patchpm.lock"
VERSION = 1
"""A reader refuses any other version."""
REVISION = 0
"""Grows with additions that an older reader may ignore; a newer one than ours is refused as we check every byte."""
_HEADER = "# Written by patchpm. Do not edit it: run `patchpm lock`, also to settle a merge conflict.\n"
_COMMIT_PATTERN = r"[0-9a-f]{40}"
_ALIAS_PATTERN = r"[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?"
_KEY_PATTERN = r"(ed25519|p256):[A-Za-z0-9+/]{40,50}={0,2}"
_MAX_VERSION = 2**31


def read_lock(text: str) -> Lock:
    """Read the text of a lock.

    Raises:
        StaleLockError: `lock-conflict` for one with merge conflict markers.
        IntegrityError: `malformed-lock`, `unknown-format`, or `lock-altered` where the content is not what patchpm
        wrote.
    """
    if has_conflict(text):
        raise StaleLockError(
            "lock-conflict",
            f"{FILE} holds a merge conflict",
            next="run `patchpm lock`, which takes both sides into account",
        )
    value = strict_toml.loads(text, source=FILE, code="malformed-lock", error=IntegrityError, next=_AGAIN)
    record = Record(value, FILE, code="malformed-lock")
    _check_version(record)
    content = record.digest("content")
    lock = Lock(
        requirements=record.digest("requirements"),
        bases=tuple(_base(item) for item in _items(record, "base")),
        registries=tuple(_registry(item) for item in _items(record, "registry")),
        releases=tuple(_release(item) for item in _items(record, "release")),
        compositions=tuple(_composition(item) for item in _items(record, "composition")),
    )
    record.done()
    if content != _content(value):
        raise IntegrityError(
            "lock-altered",
            f"{FILE} was changed by something other than patchpm",
            why=f"its content has the digest {_content(value)}, and it says {content}",
            next=_AGAIN,
        )
    return lock


_AGAIN = "take it from version control, or run `patchpm lock` to make it anew"


def write_lock(lock: Lock) -> str:
    """Write a lock; the same value always gives the same text."""
    body = "\n".join(
        [
            *(_block("base", _base_fields(base)) for base in lock.bases),
            *(_block("registry", _registry_fields(registry)) for registry in lock.registries),
            *(_block("release", _release_fields(release)) for release in lock.releases),
            *(_block("composition", _composition_fields(item)) for item in lock.compositions),
        ]
    )
    head = f"version = {VERSION}\nrevision = {REVISION}\nrequirements = {_text(str(lock.requirements))}\n"
    content = _content(tomllib.loads(head + body))
    text = f"{_HEADER}{head}content = {_text(str(content))}\n\n{body}"
    if read_lock(text) != lock:
        raise AssertionError("a lock must read back as it was written")
    return text


def _content(value: Mapping[str, object]) -> Digest:
    rest = {key: item for key, item in value.items() if key != "content"}
    return Digest.of(b"patchpm-lock-v1\n" + compact(cast("JsonValue", rest)))


def _check_version(record: Record) -> None:
    for key, known in (("version", VERSION), ("revision", REVISION)):
        found = record.integer(key, low=0, high=_MAX_VERSION)
        if found != known:
            raise IntegrityError(
                "unknown-format",
                f"{FILE} was written by another patchpm",
                why=f"its {key} is {found}, and this one reads {known}",
                next="update patchpm, or run `patchpm lock` to write it in this format",
            )


def _items(record: Record, key: str) -> Iterable[Record]:
    return record.records(key) if record.has(key) else ()


def _base(record: Record) -> LockedBase:
    optional = {key: record.digest(key) if record.has(key) else None for key in ("bf16", "tokenizer", "template")}
    base = LockedBase(
        record.text("label", pattern=LABEL_PATTERN),
        Fingerprint(
            tensors=record.digest("tensors"),
            bf16=optional["bf16"],
            tokenizer=optional["tokenizer"],
            template=optional["template"],
            hidden_size=record.integer("hidden-size", low=1, high=65_536),
        ),
    )
    record.done()
    return base


def _base_fields(base: LockedBase) -> list[tuple[str, str]]:
    found = base.fingerprint
    digests = [
        ("tensors", found.tensors),
        ("bf16", found.bf16),
        ("tokenizer", found.tokenizer),
        ("template", found.template),
    ]
    return [
        ("label", _text(base.label)),
        ("hidden-size", str(found.hidden_size)),
        *((key, _text(str(digest))) for key, digest in digests if digest is not None),
    ]


def _registry(record: Record) -> LockedRegistry:
    roles = {
        role: record.integer(role, low=1, high=_MAX_VERSION) for role in ("root", "timestamp", "snapshot", "targets")
    }
    registry = LockedRegistry(record.text("alias", pattern=_ALIAS_PATTERN), **roles)
    record.done()
    return registry


def _registry_fields(registry: LockedRegistry) -> list[tuple[str, str]]:
    return [
        ("alias", _text(registry.alias)),
        *((role, str(getattr(registry, role))) for role in ("root", "timestamp", "snapshot", "targets")),
    ]


def _release(record: Record) -> LockedRelease:
    release = LockedRelease(
        name=record.parse("name", PatchName.parse),
        version=record.parse("version", Version.parse),
        base=record.text("base", pattern=LABEL_PATTERN),
        short=record.text("short", pattern=r"[0-9a-f]{12}"),
        registry=record.text("registry", pattern=_ALIAS_PATTERN),
        domain=record.text("domain", pattern=DOMAIN_PATTERN),
        tokens=record.integer("tokens", low=1, high=MAX_TOKENS),
        manifest=_file(record, "manifest", MANIFEST),
        prefix=_file(record, "prefix", PREFIX),
        attestations=_file(record, "attestations", ATTESTATIONS),
        threshold=record.integer("threshold", low=1, high=100),
        signers=_signers(record),
        requires=_requires(record),
        commit=record.text("commit", pattern=_COMMIT_PATTERN) if record.has("commit") else None,
    )
    record.done()
    return release


def _release_fields(release: LockedRelease) -> list[tuple[str, str]]:
    return [
        ("name", _text(str(release.name))),
        ("version", _text(str(release.version))),
        ("base", _text(release.base)),
        ("short", _text(release.short)),
        ("registry", _text(release.registry)),
        *((("commit", _text(release.commit)),) if release.commit is not None else ()),
        ("domain", _text(release.domain)),
        ("tokens", str(release.tokens)),
        ("manifest", _file_text(release.manifest)),
        ("prefix", _file_text(release.prefix)),
        ("attestations", _file_text(release.attestations)),
        ("threshold", str(release.threshold)),
        ("signers", _list(release.signers)),
        ("requires", _list(f"{name} {wanted}" for name, wanted in release.requires)),
    ]


def _file(record: Record, key: str, file: str) -> FileRef:
    nested = record.record(key)
    ref = file_from(nested, file)
    nested.done()
    return ref


def _file_text(ref: FileRef) -> str:
    return f"{{ size = {ref.size}, sha256 = {_text(str(ref.digest))} }}"


def _signers(record: Record) -> tuple[str, ...]:
    signers = record.texts("signers", max_items=100)
    if any(re.fullmatch(_KEY_PATTERN, signer, re.ASCII) is None for signer in signers):
        raise record.refuse("holds something that is no public key", "signers")
    return signers


def _requires(record: Record) -> tuple[tuple[PatchName, Range], ...]:
    found = []
    for text in record.texts("requires", max_items=MAX_RELATIONS):
        name, _, wanted = text.partition(" ")
        nested = Record({"name": name, "range": wanted}, f"{record.place}: requires", code="malformed-lock")
        found.append((nested.parse("name", PatchName.parse), nested.parse("range", Range.parse)))
    return tuple(found)


def _composition(record: Record) -> Composition:
    nested = f"{record.place}: order"
    composition = Composition(
        base=record.text("base", pattern=LABEL_PATTERN),
        anchor=record.choice("anchor", ANCHORS),
        order=tuple(
            Record({"name": text}, nested, code="malformed-lock").parse("name", PatchName.parse)
            for text in record.texts("order")
        ),
        tokens=record.integer("tokens", low=0, high=16 * MAX_TOKENS),
        digest=record.digest("digest"),
    )
    record.done()
    return composition


def _composition_fields(composition: Composition) -> list[tuple[str, str]]:
    return [
        ("base", _text(composition.base)),
        ("anchor", _text(composition.anchor)),
        ("order", _list(str(name) for name in composition.order)),
        ("tokens", str(composition.tokens)),
        ("digest", _text(str(composition.digest))),
    ]


def _block(table: str, fields: list[tuple[str, str]]) -> str:
    return f"[[{table}]]\n" + "".join(f"{key} = {value}\n" for key, value in fields)


def _list(items: Iterable[str]) -> str:
    lines = "".join(f"    {_text(item)},\n" for item in items)
    return f"[\n{lines}]" if lines else "[]"


def _text(value: str) -> str:
    # Everything written here is printable ASCII of a narrow grammar; only a range may hold a character to escape, and
    # it does not.
    return f'"{value}"'
