"""`patchpm.lock` as values: exactly what is installed, from where, signed by whom, in which order.

Nothing in it names a host or a time, so that mirrors and clocks do not churn it. Reading and writing are in
`lock_toml`.
"""

from __future__ import annotations

from dataclasses import dataclass

from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import Fingerprint
from patchpm.patch.manifest import FileRef
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version


@dataclass(frozen=True, slots=True)
class LockedBase:
    """One base model of the project, as it was when the lock was made."""

    label: str
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class LockedRegistry:
    """A registry and the newest of its metadata that was seen: the floor below which nothing is accepted."""

    alias: str
    root: int
    timestamp: int
    snapshot: int
    targets: int


@dataclass(frozen=True, slots=True)
class LockedRelease:
    """One release: a version of a patch for one base."""

    name: PatchName
    version: Version
    base: str
    """Label of the base in this project."""
    short: str
    """The 12 hex digits of the base that the release was made for, part of its address."""
    registry: str
    """Alias of the registry it comes from."""
    domain: str
    tokens: int
    manifest: FileRef
    prefix: FileRef
    attestations: FileRef
    threshold: int
    """How many of `signers` must have signed."""
    signers: tuple[str, ...]
    """Public keys of the vendor, `ed25519:…` or `p256:…`, sorted."""
    requires: tuple[tuple[PatchName, Range], ...]
    commit: str | None = None
    """On the Hub and its like: the commit that the release's tag named, so that a tag that moves changes nothing."""

    @property
    def path(self) -> str:
        """Its address within the registry."""
        return f"{self.name}/{self.version}/{self.short}"


@dataclass(frozen=True, slots=True)
class Composition:
    """The patch set of one base."""

    base: str
    anchor: str
    order: tuple[PatchName, ...]
    """As the prefixes stand at the anchor."""
    tokens: int
    digest: Digest
    """Identity of the set, see `patchpm.patch.patch_set`."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A whole lock, everything in it sorted."""

    requirements: Digest
    """Of the requirements it was made from; another digest means that it is stale."""
    bases: tuple[LockedBase, ...]
    registries: tuple[LockedRegistry, ...]
    releases: tuple[LockedRelease, ...]
    compositions: tuple[Composition, ...]

    def release(self, name: PatchName, base: str) -> LockedRelease | None:
        """The release of `name` for the base labelled `base`."""
        return next((item for item in self.releases if item.name == name and item.base == base), None)

    def composition(self, base: str) -> Composition | None:
        """The patch set of one base."""
        return next((item for item in self.compositions if item.base == base), None)

    def versions(self) -> dict[PatchName, Version]:
        """Version of each locked patch."""
        return {release.name: release.version for release in self.releases}
