"""All answers to a small problem, found by trying every choice of versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.registry.index import ReleaseEntry
from patchpm.resolve.problem import RootRequirement, Target
from tests.resolve.shelf import Shelf

Answer = Mapping[PatchName, Version]


class BruteForce:
    """One problem, with the versions that may be chosen worked out from the rules as DESIGN states them."""

    def __init__(
        self,
        shelf: Shelf,
        roots: Sequence[RootRequirement],
        targets: Sequence[Target],
        locked: Mapping[PatchName, Version] | None = None,
    ) -> None:
        self.roots = list(roots)
        self.locked = locked or {}
        self.releases: dict[PatchName, dict[Version, list[ReleaseEntry]]] = {}
        for name in shelf.names():
            by_version: dict[Version, list[ReleaseEntry]] = {}
            for entry in shelf.entries(name):
                by_version.setdefault(entry.version, []).append(entry)
            self.releases[name] = {}
            for version, entries in by_version.items():
                fitting = [each for target in targets for each in entries if each.base.match(target.fingerprint)]
                is_choosable = all(each.yanked is None or self.locked.get(name) == version for each in fitting)
                if len(fitting) == len(targets) and is_choosable:
                    self.releases[name][version] = fitting

    def answers(self, roots: Sequence[RootRequirement] | None = None) -> Iterator[Answer]:
        """Every valid choice in which nothing is superfluous."""
        wanted = self.roots if roots is None else roots
        names = sorted({*self.releases, *(root.name for root in wanted)})
        for picked in product(*[self._options(name, wanted) for name in names]):
            answer = {name: version for name, version in zip(names, picked, strict=True) if version is not None}
            if self.is_valid(answer, wanted) and set(answer) == self.needed(answer, wanted):
                yield answer

    def _options(self, name: PatchName, roots: Sequence[RootRequirement]) -> list[Version | None]:
        """What may be picked of a patch: a version that its roots accept, or nothing where it has no root."""
        ranges = [root.range for root in roots if root.name == name]
        nothing: list[Version | None] = [] if ranges else [None]
        fitting = [each for each in self.releases.get(name, {}) if all(wanted.contains(each) for wanted in ranges)]
        return nothing + fitting

    def is_valid(self, answer: Answer, roots: Sequence[RootRequirement]) -> bool:
        """Whether every requirement is met and nothing conflicts."""
        assert all(root.range.contains(answer[root.name]) for root in roots)
        for name, version in answer.items():
            for release in self.releases[name][version]:
                for other, wanted in release.compose.requires:
                    if other not in answer or not wanted.contains(answer[other]):
                        return False
                for other, unwanted in release.compose.conflicts:
                    if other != name and other in answer and unwanted.contains(answer[other], prereleases=True):
                        return False
        return True

    def needed(self, answer: Answer, roots: Sequence[RootRequirement]) -> set[PatchName]:
        """What the roots need of an answer."""
        found: set[PatchName] = set()
        waiting = [root.name for root in roots]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                releases = self.releases[name][answer[name]]
                waiting += [other for release in releases for other, _ in release.compose.requires]
        return found

    def greedy(self, answer: Answer) -> list[Version]:
        """What the answer gives the roots, in the order in which they come first."""
        return [answer[name] for name in sorted({root.name for root in self.roots})]
