"""Why no solution exists, as values: facts that somebody wrote down, and conclusions from two statements each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from patchpm.resolve.candidates import Candidates, Ranges
from patchpm.resolve.problem import RootRequirement
from patchpm.resolve.version_set import VersionSet


@dataclass(frozen=True, slots=True)
class Asked:
    """The user asks for a patch."""

    patch: Candidates
    root: RootRequirement


@dataclass(frozen=True, slots=True)
class Requires:
    """Some versions of a patch require another one."""

    parent: Candidates
    versions: VersionSet
    other: Candidates
    ranges: tuple[Ranges, ...]
    """Each way in which these versions write it; all of them accept the same candidates."""


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Some versions of a patch declare a conflict with another one."""

    parent: Candidates
    versions: VersionSet
    other: Candidates
    ranges: tuple[Ranges, ...]
    """Each way in which these versions write it; all of them mean the same candidates."""


@dataclass(frozen=True, slots=True)
class Unmet:
    """Some versions of a patch require what no candidate meets."""

    parent: Candidates
    versions: VersionSet
    other: Candidates
    ranges: Ranges


Fact = Asked | Requires | Conflicts | Unmet


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """Things that cannot all be true at once.

    Attributes:
        present: Patches with versions of which one would be chosen.
        absent: Patches with versions of which none would be chosen.
        fact: Who says so, or None for a conclusion.
        causes: The two statements it follows from, or None for a fact.
    """

    present: tuple[tuple[Candidates, VersionSet], ...]
    absent: tuple[tuple[Candidates, VersionSet], ...]
    fact: Fact | None
    causes: tuple[Statement, Statement] | None

    def walk(self) -> Iterator[Statement]:
        """Every statement of the proof once, causes before conclusions."""
        seen: set[int] = set()
        stack = [(self, False)]
        while stack:
            statement, is_done = stack.pop()
            if is_done:
                yield statement
            elif id(statement) not in seen:
                seen.add(id(statement))
                stack.append((statement, True))
                stack += [(cause, False) for cause in reversed(statement.causes or ())]

    def roots(self) -> list[RootRequirement]:
        """The requirements of the user that the proof rests on."""
        asked = [statement.fact.root for statement in self.walk() if isinstance(statement.fact, Asked)]
        return list(dict.fromkeys(asked))
