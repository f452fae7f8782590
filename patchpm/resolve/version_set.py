"""Sets of versions as bit masks: bit `i` stands for the i-th candidate version of one patch, counted upwards.

The solver asks how two sets lie to each other some ten thousand times in a solve. Candidates are few and known, so a
machine integer answers exactly, pre-release holes and all, where intervals would need arithmetic on bounds.
"""

from __future__ import annotations

from typing import NamedTuple


class Relation(NamedTuple):
    """How one set lies to another."""

    is_subset: bool
    is_disjoint: bool


_EMPTY, _SUBSET = Relation(True, True), Relation(True, False)
_DISJOINT, _OVERLAPPING = Relation(False, True), Relation(False, False)


class VersionSet:
    """An immutable set of candidate indices. Implements the range protocol of nab-resolver.

    A negative mask is a complement: it holds every index from some point on, as Python's integers do.
    """

    __slots__ = ("mask",)

    def __init__(self, mask: int) -> None:
        self.mask = mask

    @classmethod
    def empty(cls) -> VersionSet:
        """No version."""
        return cls(0)

    @classmethod
    def full(cls) -> VersionSet:
        """Every version there could be."""
        return cls(-1)

    @classmethod
    def singleton(cls, version: int) -> VersionSet:
        """The candidate of this index only."""
        return cls(1 << version)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it."""
        return not self.mask

    def __contains__(self, version: int) -> bool:
        return bool(self.mask >> version & 1)

    def __and__(self, other: object) -> VersionSet:
        return VersionSet(self.mask & other.mask) if isinstance(other, VersionSet) else NotImplemented

    def __or__(self, other: object) -> VersionSet:
        return VersionSet(self.mask | other.mask) if isinstance(other, VersionSet) else NotImplemented

    def __sub__(self, other: object) -> VersionSet:
        return VersionSet(self.mask & ~other.mask) if isinstance(other, VersionSet) else NotImplemented

    def __invert__(self) -> VersionSet:
        return VersionSet(~self.mask)

    def is_subset(self, other: VersionSet) -> bool:
        """Whether all of this is in `other`."""
        return not self.mask & ~other.mask

    def is_superset(self, other: VersionSet) -> bool:
        """Whether all of `other` is in this."""
        return not other.mask & ~self.mask

    def is_disjoint(self, other: VersionSet) -> bool:
        """Whether nothing is in both."""
        return not self.mask & other.mask

    def relation(self, other: VersionSet) -> Relation:
        """Both answers at once."""
        if not self.mask:
            return _EMPTY
        shared = self.mask & other.mask
        if shared == self.mask:
            return _SUBSET
        return _OVERLAPPING if shared else _DISJOINT

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VersionSet) and self.mask == other.mask

    def __hash__(self) -> int:
        return hash(self.mask)

    def __repr__(self) -> str:
        return f"VersionSet({self.mask:#b})"
