"""What a registry's index says about a release: all that resolving needs, without fetching the release itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from patchpm.patch.fingerprint import BaseModel
from patchpm.patch.manifest import Compose, FileRef
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version


@dataclass(frozen=True, slots=True)
class ReleaseEntry:
    """One release: one version of a patch for one base, as the vendor's signed role file lists it."""

    name: PatchName
    version: Version
    domain: str
    summary: str
    base: BaseModel
    """Weights identity only; `files` and `tokenizer` stay in the manifest."""
    tokens: int
    anchors: tuple[str, ...]
    compose: Compose
    manifest: FileRef
    prefix: FileRef
    attestations: FileRef
    published: str
    """UTC, `2026-11-24T12:00:00Z`."""
    yanked: str | None
    """The reason, for a release that must not be newly chosen."""
    registry: str
    """Alias of the registry that lists it."""
    deprecated: str | None = None
    """What to use instead, for a release that may still be chosen."""

    @property
    def commit(self) -> None:
        """An index knows of no commit: it is the same on every host."""
        return None

    @property
    def path(self) -> str:
        """`vendor/name/version/base12`: the TUF target path, and the folder of its three files under `patches/`."""
        return f"{self.name}/{self.version}/{self.base.short}"


class Index(Protocol):
    """Where resolving looks releases up. The registry a name belongs to is decided behind it, by policy."""

    def entries(self, name: PatchName) -> Sequence[ReleaseEntry]:
        """All releases of `name`, for all bases, in no particular order; empty for an unknown name."""

    def names(self) -> Sequence[PatchName]:
        """All names known, sorted; for hints at misspelt ones and for bare names."""
