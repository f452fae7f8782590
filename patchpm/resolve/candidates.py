"""What may be chosen: the versions of each patch that have an admissible release for every base of the project.

Each name is looked up in the index when the solver first touches it, and then once only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from patchpm.patch.fingerprint import Match
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.registry.index import Index, ReleaseEntry
from patchpm.resolve.problem import Target
from patchpm.resolve.version_set import VersionSet

Admit = Callable[[ReleaseEntry], str | None]
"""The policy's word on a release: why it may not be chosen, or None."""
Ranges = tuple[Range, ...]
"""Ranges that must all contain a version: one, or one for each base where its releases differ in what they say."""
Wishes = dict[PatchName, Ranges]
"""What a version requires, or what it conflicts with."""

_STRENGTH = {match: number for number, match in enumerate(Match)}


@dataclass(frozen=True, slots=True)
class Rejection:
    """A version that exists and may not be chosen."""

    version: Version
    reason: str
    """Ends the sentence "acme/toxicity 1.3.0 is ..."."""
    missing: str | None = None
    """Label of the project's base that it has no release for."""
    other_bases: tuple[str, ...] = ()
    """Names of the bases it has releases for, where one is missing."""


@dataclass(frozen=True, slots=True)
class Sayings:
    """What one version says of other patches, in the vendor's words and as candidates.

    A version may have several releases, one for each base; then every one of them is heard.
    """

    requires: Wishes
    conflicts: Wishes
    required: dict[Candidates, VersionSet]
    """What it requires; itself is left out."""
    clashing: dict[Candidates, VersionSet]
    """What it conflicts with, as far as there is any; itself is left out.

    Pre-releases count by precedence alone here: who conflicts with `>=1.5` does so with `1.6.0-rc.1` as well.
    """
    unmet: tuple[Candidates, Ranges] | None
    """A requirement that no candidate meets."""
    alike: VersionSet
    """All versions that say the same, itself among them."""


class Candidates:
    """The versions of one patch that may be chosen, and what they say of other patches.

    Attributes:
        name: Of the patch.
        versions: In ascending order; a `VersionSet` counts them from 0.
        releases: For each version its release for each target, in the order of the targets.
        rejected: Versions that exist and may not be chosen, in ascending order.
        all: Every candidate.
        locked: Index of the version to prefer, or None.
    """

    def __init__(self, name: PatchName, pool: Pool) -> None:
        self.name = name
        self._pool = pool
        accepted, rejected = pool.judge(name)
        self.versions = tuple(version for version, _ in accepted)
        self.releases = tuple(releases for _, releases in accepted)
        self.rejected = tuple(rejected)
        self.all = VersionSet((1 << len(self.versions)) - 1)
        locked = pool.locked.get(name)
        self.locked = self.versions.index(locked) if locked in self.versions else None
        self._sets: dict[tuple[Range, bool], VersionSet] = {}
        self._said: dict[int, Sayings] = {}

    @property
    def is_known(self) -> bool:
        """Whether the index has any release of this patch, for whatever base."""
        return bool(self.versions or self.rejected)

    def within(self, ranges: Ranges, *, prereleases: bool = False) -> VersionSet:
        """The candidates that all of `ranges` contain."""
        first, *others = ranges
        found = self._sets.get((first, prereleases))
        if found is None:
            mask = 0
            for index, version in enumerate(self.versions):
                if first.contains(version, prereleases=prereleases):
                    mask |= 1 << index
            found = self._sets[first, prereleases] = VersionSet(mask)
        return found & self.within(tuple(others), prereleases=prereleases) if others else found

    def wished(self, ranges: Ranges) -> VersionSet:
        """The candidates that a requirement for `ranges` accepts."""
        return self.within(ranges, prereleases=self._pool.lenient)

    def said(self, index: int) -> Sayings:
        """What a version says of other patches."""
        found = self._said.get(index)
        if found is None:
            alike = self._alike(index)
            found = self._said[index] = self._listen(index, alike)
        return found

    def _listen(self, index: int, alike: VersionSet) -> Sayings:
        requires = _gathered(release.compose.requires for release in self.releases[index])
        conflicts = _gathered(release.compose.conflicts for release in self.releases[index])
        required, clashing, unmet = {}, {}, None
        for name, ranges in requires.items():
            other = self._pool[name]
            accepted = other.wished(ranges)
            if other is not self:
                required[other] = accepted
            if accepted.is_empty or (other is self and index not in accepted):
                unmet = unmet or (other, ranges)
        for name, ranges in conflicts.items():
            other = self._pool[name]
            meant = VersionSet(0)
            for each in ranges:
                meant |= other.within((each,), prereleases=True)
            if other is not self and not meant.is_empty:
                clashing[other] = meant
        return Sayings(requires, conflicts, required, clashing, unmet, alike)

    def _alike(self, index: int) -> VersionSet:
        mine = [(release.compose.requires, release.compose.conflicts) for release in self.releases[index]]
        mask = 0
        for number, releases in enumerate(self.releases):
            if mine == [(release.compose.requires, release.compose.conflicts) for release in releases]:
                mask |= 1 << number
        return VersionSet(mask)

    def __str__(self) -> str:
        return str(self.name)


class Pool:
    """The candidates of every patch, made when first asked for.

    Args:
        index: Where releases are looked up.
        targets: The bases of the project, at least one.
        locked: Versions to prefer, which also may be chosen when yanked.
        admit: The policy's word on each release.
        lenient: Take yanked, inadmissible and pre-release versions too: for saying what would have fitted.
    """

    def __init__(
        self,
        index: Index,
        targets: Sequence[Target],
        locked: Mapping[PatchName, Version],
        admit: Admit,
        *,
        lenient: bool = False,
    ) -> None:
        self.index = index
        self.targets = tuple(targets)
        self.locked = locked
        self.lenient = lenient
        self._admit = admit
        self._candidates: dict[PatchName, Candidates] = {}

    def __getitem__(self, name: PatchName) -> Candidates:
        found = self._candidates.get(name)
        if found is None:
            found = self._candidates[name] = Candidates(name, self)
        return found

    def relaxed(self) -> Pool | None:
        """The same pool, lenient; None where it would offer no other versions of the patches looked at so far."""
        looked_at = self._candidates.values()
        refused = (rejection for each in looked_at for rejection in each.rejected)
        prereleases = (version for each in looked_at for version in each.versions if version.is_prerelease)
        if all(rejection.missing is not None for rejection in refused) and not any(prereleases):
            return None
        return Pool(self.index, self.targets, self.locked, self._admit, lenient=True)

    def judge(self, name: PatchName) -> tuple[list[tuple[Version, tuple[ReleaseEntry, ...]]], list[Rejection]]:
        """Part the versions of a patch into those that may be chosen, each with its releases, and the others."""
        by_version: dict[Version, list[ReleaseEntry]] = {}
        for entry in self.index.entries(name):
            by_version.setdefault(entry.version, []).append(entry)
        accepted, rejected = [], []
        for version in sorted(by_version, key=lambda each: (each.precedence, each.build)):
            verdict = self._judge_version(name, version, by_version[version])
            if isinstance(verdict, Rejection):
                rejected.append(verdict)
            else:
                accepted.append((version, verdict))
        return accepted, rejected

    def _judge_version(
        self, name: PatchName, version: Version, entries: list[ReleaseEntry]
    ) -> Rejection | tuple[ReleaseEntry, ...]:
        chosen = []
        for target in self.targets:
            release = _for_target(entries, target)
            if release is None:
                bases = tuple(sorted({entry.base.name for entry in entries}))
                return Rejection(version, f"not made for {target.label}", target.label, bases)
            chosen.append(release)
        if not self.lenient:
            for release in chosen:
                reason = self.refusal(release, is_locked=self.locked.get(name) == version)
                if reason is not None:
                    return Rejection(version, reason)
        return tuple(chosen)

    def refusal(self, release: ReleaseEntry, *, is_locked: bool) -> str | None:
        """Why a release that fits the base may not be chosen, as in "is yanked: ...", or None."""
        if release.yanked is not None and not is_locked:
            return f"yanked: {release.yanked}"
        refused = self._admit(release)
        return None if refused is None else f"not admitted: {refused}"


def _for_target(entries: list[ReleaseEntry], target: Target) -> ReleaseEntry | None:
    """The release whose base matches best; by digest of the base where two match equally well."""
    matching = [(match, entry) for entry in entries if (match := entry.base.match(target.fingerprint)) is not None]
    if len(matching) <= 1:
        return matching[0][1] if matching else None
    return min(matching, key=lambda pair: (_STRENGTH[pair[0]], pair[1].path))[1]


def _gathered(declared: Iterable[tuple[tuple[PatchName, Range], ...]]) -> Wishes:
    gathered: Wishes = {}
    for wishes in declared:
        for name, wanted in wishes:
            known = gathered.get(name, ())
            if wanted not in known:
                gathered[name] = (*known, wanted)
    return gathered
