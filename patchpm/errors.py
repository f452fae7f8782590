"""The errors of patchpm: the lowest layer, imported by every room and importing none.

The tree is cut by what the person who meets an error can do about it, and each branch has one exit code. An error
carries data (`code`, `what`, `why`, `next`); the command line turns it into words in one place.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the `patchpm` command. They are part of the public interface."""

    OK = 0
    """The command did what was asked."""
    CANNOT = 1
    """It cannot be done: no solution, not found, a full disk."""
    USAGE = 2
    """The command line or a file the user wrote is wrong."""
    STALE_LOCK = 3
    """`patchpm.lock` is missing or does not belong to `patchpm.toml`."""
    INTEGRITY = 4
    """Bytes, signatures or a base model are not what was promised."""
    NETWORK = 5
    """A registry could not be reached."""
    FINDINGS = 6
    """The command worked and found something (`outdated`, `status`)."""
    INTERNAL = 70
    """A bug in patchpm."""


class PatchpmError(Exception):
    """Something a user can act on.

    Attributes:
        code: Stable kebab-case name of the case, for searching and for scripts.
        what: What happened, one sentence without a full stop.
        why: The facts behind it: expected against found, which file, which key.
        next: What to do now, or None where nothing helps.
        exit_code: How the command line ends.
    """

    exit_code: ExitCode = ExitCode.CANNOT

    def __init__(self, code: str, what: str, *, why: str = "", next: str | None = None) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.why = why
        self.next = next

    def __str__(self) -> str:
        parts = [f"{self.what} [{self.code}]"]
        if self.why:
            parts.append(self.why)
        if self.next:
            parts.append(f"hint: {self.next}")
        return "\n".join(parts)


class CannotError(PatchpmError):
    """The request is well-formed and cannot be fulfilled (unknown patch, full disk)."""


class ResolutionError(CannotError):
    """No set of releases meets the requirements."""


class UsageError(PatchpmError):
    """A command line, a requirement or a hand-written file is wrong."""

    exit_code = ExitCode.USAGE


class StaleLockError(PatchpmError):
    """The lock is missing, unreadable as a lock, or does not belong to the project file."""

    exit_code = ExitCode.STALE_LOCK


class IntegrityError(PatchpmError):
    """Bytes are malformed or are not the bytes that were promised."""

    exit_code = ExitCode.INTEGRITY


class TrustError(IntegrityError):
    """A signature, key, threshold, expiry or policy check failed."""


class NetworkError(PatchpmError):
    """A registry host cannot be reached or does not answer as one."""

    exit_code = ExitCode.NETWORK


class FindingsError(PatchpmError):
    """The command worked; what it looked for is there."""

    exit_code = ExitCode.FINDINGS
