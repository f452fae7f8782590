"""What a resolution ends with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.registry.index import ReleaseEntry


@dataclass(frozen=True, slots=True)
class Edge:
    """One requirement that was met."""

    by: PatchName | None
    """The patch that requires it, or None for the user."""
    origin: str
    """Where the user wrote it; empty for a patch."""
    name: PatchName
    """What is required."""
    range: Range


@dataclass(frozen=True, slots=True)
class ResolvedSet:
    """The patch set for one base of the project."""

    releases: tuple[ReleaseEntry, ...]
    """In the order in which they stand at the anchor."""
    tokens: int
    """What they cost together, in prefix tokens."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """One version of each patch, and what that means for each base."""

    sets: Mapping[str, ResolvedSet]
    """By label of the base, in the order of the targets."""
    edges: tuple[Edge, ...]
    """Who requires whom, the user's requirements first."""

    @property
    def versions(self) -> dict[PatchName, Version]:
        """The version of each patch, sorted by name. It is the same for every base."""
        releases = (release for each in self.sets.values() for release in each.releases)
        return dict(sorted({release.name: release.version for release in releases}.items()))
