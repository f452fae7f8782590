"""Names of vendors and patches.

The grammar is ASCII only, so no two names look alike (no homoglyphs), and short enough for every host's path limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from patchpm.errors import UsageError

_SEGMENT = re.compile(r"[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?", re.ASCII)
RESERVED_VENDORS = frozenset({"root", "snapshot", "targets", "timestamp"})
"""The TUF role names: a vendor of this name would take over the file of that role."""


def is_segment(text: str) -> bool:
    """Whether `text` may be a vendor, or the second half of a patch name."""
    return _SEGMENT.fullmatch(text) is not None


def check_vendor(text: str) -> str:
    """Return `text` if it may name a vendor.

    Raises:
        UsageError: `invalid-name`.
    """
    if not is_segment(text) or text in RESERVED_VENDORS:
        raise UsageError(
            "invalid-name",
            f"{text[:80]!r} is not a vendor name",
            why="a name has 1 to 39 characters of a-z, 0-9 and inner hyphens, and is no TUF role",
        )
    return text


@dataclass(frozen=True, slots=True, order=True)
class PatchName:
    """`vendor/name`, the full name of a patch."""

    vendor: str
    """Who makes it; owns the namespace."""
    name: str
    """What it is called within that namespace."""

    @classmethod
    def parse(cls, text: str) -> PatchName:
        """Read `vendor/name`.

        Raises:
            UsageError: `invalid-name`.
        """
        vendor, slash, name = text.partition("/")
        if not slash or not is_segment(name):
            raise UsageError(
                "invalid-name",
                f"{text[:80]!r} is not a patch name",
                why="expected vendor/name, each 1 to 39 characters of a-z, 0-9 and inner hyphens",
            )
        return cls(check_vendor(vendor), name)

    def __str__(self) -> str:
        return f"{self.vendor}/{self.name}"
