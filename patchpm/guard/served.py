"""What a server may be serving, seen from outside: the set that is locked, or one of the ways to miss it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from patchpm.patch.name import PatchName
from patchpm.patch.version import Version


class Half(StrEnum):
    """Which rows of a prefix are there."""

    FIRST = "first"
    SECOND = "second"


class Doubt(StrEnum):
    """Why nothing can be said."""

    NO_ANSWER = "no-answer"
    """The server did not answer, or not as an OpenAI-compatible one."""
    TOO_CLOSE = "too-close"
    """The answers fit the locked set, and something else nearly as well."""
    TOO_FAR = "too-far"
    """The answers fit the locked set better than anything else that is known, and not well enough."""
    COUNTS_DENY = "counts-deny"
    """The answers fit the locked set, and the numbers of prompt tokens are those of another prompt."""
    TEXT_ONLY = "text-only"
    """The server gives no log-probabilities, and its texts do not settle it."""


@dataclass(frozen=True, slots=True)
class AsLocked:
    """The locked patch set."""

    kind: ClassVar[str] = "right"


@dataclass(frozen=True, slots=True)
class Stripped:
    """The base model without any patch."""

    kind: ClassVar[str] = "stripped"


@dataclass(frozen=True, slots=True)
class HalfStripped:
    """Half of the rows of the set."""

    half: Half
    kind: ClassVar[str] = "half-stripped"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """All patches but one."""

    patch: PatchName
    kind: ClassVar[str] = "left-out"


@dataclass(frozen=True, slots=True)
class WrongOrder:
    """The patches of the set in another order."""

    order: tuple[PatchName, ...]
    kind: ClassVar[str] = "wrong-order"


@dataclass(frozen=True, slots=True)
class OtherRelease:
    """One patch of the set in another release than the locked one."""

    patch: PatchName
    version: Version
    kind: ClassVar[str] = "other-release"


@dataclass(frozen=True, slots=True)
class WrongPatch:
    """Something that is far from all of the others: another patch, another base, a manipulated prefix."""

    kind: ClassVar[str] = "wrong-patch"


@dataclass(frozen=True, slots=True)
class Unclear:
    """The evidence does not settle it."""

    doubt: Doubt
    kind: ClassVar[str] = "unclear"


Alternative = Stripped | HalfStripped | LeftOut | WrongOrder | OtherRelease
"""Ways to miss the set whose answers a reference holds too."""
Served = AsLocked | Alternative | WrongPatch | Unclear
