"""What came out of looking at a release: every check by name, and the verified release if all of them passed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from patchpm.errors import PatchpmError


class Status(Enum):
    """How a check ended."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"
    """Not made: nothing to compare with, or an earlier check failed. `Check.detail` says which."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a verdict."""

    name: str
    """Stable kebab-case name, for scripts."""
    status: Status
    detail: str
    """What was found, for people."""
    error: PatchpmError | None = field(default=None, compare=False, repr=False)
    """What `Verdict.require` raises, for a failed check."""
