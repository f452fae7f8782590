"""An index in memory, and builders for the releases in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from patchpm.patch.manifest import Compose, FileRef
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.registry.index import ReleaseEntry
from patchpm.resolve.resolver import Resolution, RootRequirement, Target
from tests.builders import base, digest, fingerprint


class Shelf:
    """Implements `Index`, and notes which names were looked up."""

    def __init__(self, *entries: ReleaseEntry) -> None:
        self._entries: dict[PatchName, list[ReleaseEntry]] = {}
        self.looked_up: list[PatchName] = []
        for entry in entries:
            self._entries.setdefault(entry.name, []).append(entry)

    def entries(self, name: PatchName) -> Sequence[ReleaseEntry]:
        self.looked_up.append(name)
        return self._entries.get(name, [])

    def names(self) -> Sequence[PatchName]:
        return sorted(self._entries)


def release(
    spec: str,
    requires: dict[str, str] | None = None,
    conflicts: dict[str, str] | None = None,
    *,
    model: str = "tiny",
    before: Iterable[str] = (),
    after: Iterable[str] = (),
    **changes: Any,
) -> ReleaseEntry:
    """The entry of `name@version` for the base called `model`; the vendor is acme unless given."""
    name, _, version = spec.partition("@")
    compose = Compose(
        requires=_ranges(requires),
        conflicts=_ranges(conflicts),
        before=tuple(sorted(map(named, before))),
        after=tuple(sorted(map(named, after))),
    )
    files = FileRef(1, digest(spec + model))
    values: dict[str, Any] = {
        "name": named(name),
        "version": Version.parse(version),
        "domain": "toxicity",
        "summary": "",
        "base": base(model),
        "tokens": 8,
        "anchors": ("system-start",),
        "compose": compose,
        "manifest": files,
        "prefix": files,
        "attestations": files,
        "published": "2026-11-24T12:00:00Z",
        "yanked": None,
        "registry": "builtin",
    }
    return ReleaseEntry(**{**values, **changes})


def several(name: str, versions: str, requires: dict[str, str] | None = None, **changes: Any) -> list[ReleaseEntry]:
    """Entries for versions written with spaces between them."""
    return [release(f"{name}@{version}", requires, **changes) for version in versions.split()]


def named(text: str) -> PatchName:
    return PatchName.parse(text if "/" in text else f"acme/{text}")


def asked(*requirements: str, origin: str | None = None) -> list[RootRequirement]:
    """Roots from `name` or `name@range`, on lines 7, 8, ... of the project file."""
    roots = []
    for line, text in enumerate(requirements, start=7):
        name, _, wanted = text.partition("@")
        roots.append(RootRequirement(named(name), Range.parse(wanted or "*"), origin or f"patchpm.toml:{line}"))
    return roots


def target(model: str = "tiny") -> Target:
    return Target(model, fingerprint(model))


TINY = (target(),)


def versions(resolution: Resolution) -> list[str]:
    """`toxicity 1.2.0` for each chosen patch."""
    return [f"{name.name} {version}" for name, version in resolution.versions.items()]


def _ranges(wanted: dict[str, str] | None) -> tuple[tuple[PatchName, Range], ...]:
    return tuple(sorted((named(name), Range.parse(text)) for name, text in (wanted or {}).items()))
