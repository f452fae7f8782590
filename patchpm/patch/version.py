"""Versions of patches: SemVer 2.0.0 with a total order that is cheap to sort by.

Source: https://semver.org/spec/v2.0.0.html, sections 9 to 11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from patchpm.errors import UsageError

MAX_LENGTH = 64
"""Longest version in characters: versions are folder names and tags on every host."""
MAX_DIGITS = 15
"""Longest number in digits, so that every reader can hold it in a double."""

Identifier = tuple[int, int, str]
"""One dot-separated part of a pre-release: `(0, number, "")` for a number, `(1, 0, text)` for anything else."""
Precedence = tuple[int, int, int, tuple[Identifier, ...]]
"""`(major, minor, patch, pre-release)`; comparing two of these is comparing by SemVer section 11."""
FINAL: tuple[Identifier, ...] = ((2, 0, ""),)
"""The pre-release part of a version that has none: above every pre-release of the same numbers."""
LOWEST: tuple[Identifier, ...] = ((0, 0, ""),)
"""The pre-release part of `-0`, the lowest there is."""

_LONG_NUMBER = re.compile(rf"\d{{{MAX_DIGITS + 1},}}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One version, ordered by precedence and then by build metadata, so that the order is total and agrees with `==`.

    Two versions that differ in build metadata only are different versions here, but no range tells them apart; a
    registry refuses the second of them.
    """

    precedence: Precedence
    """What ranges and sorting look at; sort many versions with `key=lambda v: v.precedence`."""
    build: str
    """Build metadata without its `+`, mostly empty."""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read a version in its only written form, without a leading `v`.

        Raises:
            UsageError: `invalid-version`.
        """
        # Loaded with the first version, since start-up without one is measured.
        from semver import Version as SemVer

        if len(text) > MAX_LENGTH:
            raise _invalid(text, f"it has {len(text)} characters, and {MAX_LENGTH} are allowed")
        try:
            parts = SemVer.parse(text)
        except ValueError:
            raise _invalid(text, "expected three numbers and perhaps a pre-release: 1.2.3 or 1.2.3-rc.1") from None
        prerelease = parts.prerelease
        if _LONG_NUMBER.search(f"{parts.major}.{parts.minor}.{parts.patch}.{prerelease or ''}"):
            raise _invalid(text, f"numbers have at most {MAX_DIGITS} digits")
        identifiers = FINAL if prerelease is None else tuple(map(_identifier, prerelease.split(".")))
        return cls((parts.major, parts.minor, parts.patch, identifiers), parts.build or "")

    @property
    def major(self) -> int:
        """Goes up when the behaviour or the base geometry changes."""
        return self.precedence[0]

    @property
    def minor(self) -> int:
        """Goes up when the coverage gets wider."""
        return self.precedence[1]

    @property
    def patch(self) -> int:
        """Goes up when the prefix is retrained with no measured regression."""
        return self.precedence[2]

    @property
    def is_prerelease(self) -> bool:
        """Whether this version is chosen only when asked for."""
        return self.precedence[3] != FINAL

    def __str__(self) -> str:
        major, minor, patch, identifiers = self.precedence
        text = f"{major}.{minor}.{patch}"
        if self.is_prerelease:
            text += "-" + ".".join(word if kind else str(number) for kind, number, word in identifiers)
        return f"{text}+{self.build}" if self.build else text


def _identifier(text: str) -> Identifier:
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)


def _invalid(text: str, why: str) -> UsageError:
    return UsageError("invalid-version", f"{text[:80]!r} is not a version", why=why)
