"""The small interface between registries and the places that keep their files.

A host is dumb: it keeps bytes under paths and has one revision. It is never trusted: clients check all that it gives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from patchpm.errors import CannotError, IntegrityError, UsageError

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}", re.ASCII)
_MAX_SEGMENTS: Final = 8

Change = tuple[str, bytes]
"""A path and the bytes that shall be there."""


class Readable(Protocol):
    """Whatever has a registry's files."""

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """The file at `path`, or None if there is none.

        Raises:
            IntegrityError: `too-large` for more than `max_bytes`, found out without reading much more.
            NetworkError: `unreachable`.
        """


class Host(Readable, Protocol):
    """A place that keeps the files of one registry."""

    @property
    def where(self) -> str:
        """Its address, for messages."""

    @property
    def is_local(self) -> bool:
        """Whether it can be read without a network, and so also by `--offline`."""

    def head(self) -> str:
        """A token for the present state, for `commit`; another one after every commit of a new timestamp."""

    def commit(self, changes: Sequence[Change], expect: str) -> None:
        """Write files, in this order, if the state is still `expect`: all of them, even if this process is killed.

        Readers see each file whole; they may see the first files before the last ones. Without a new
        `metadata/timestamp.json` the state stays `expect`: files that nothing refers to yet.

        Raises:
            CannotError: `publish-conflict` where someone else committed first, or where the place cannot be written.
        """


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change to a vendor's role that waits for the operator's signature. All of it is a stranger's word."""

    number: int
    vendor: str
    """Whose role it says it is."""
    role: int
    """Which version of it."""
    title: str
    author: str
    """Who handed it in, as the host knows them."""


class Forum(Host, Protocol):
    """A host that also takes proposals."""

    def propose(self, changes: Sequence[Change], vendor: str, title: str) -> str:
        """Hand in files of releases, and a vendor's role; returns the address of the proposal.

        Raises:
            CannotError: `not-allowed`.
        """

    def proposals(self) -> Sequence[Proposal]:
        """All that are open, oldest first."""

    def proposed(self, number: int, path: str, max_bytes: int) -> bytes | None:
        """A file as a proposal would have it."""

    def close(self, number: int, comment: str) -> None:
        """Say that a proposal was taken, and end it."""

    def comment(self, number: int, comment: str) -> None:
        """Say why a proposal was not taken."""


def check_path(path: str) -> tuple[str, ...]:
    """The segments of a path that cannot leave the registry or hide in it.

    Raises:
        IntegrityError: `unsafe-path`.
    """
    segments = tuple(path.split("/"))
    if len(segments) > _MAX_SEGMENTS or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise IntegrityError("unsafe-path", f"{path[:200]!r} is no path of a registry")
    return segments


def plain_address(url: str) -> SplitResult:
    """The parts of an address that is a place and nothing else. Errors do not show what may be a password.

    Raises:
        UsageError: `unsupported-registry` for one with a query, a fragment, a name or a password in it.
    """
    try:
        parts = urlsplit(url)
        if parts.hostname and not (parts.query or parts.fragment or parts.username or parts.password):
            return parts
    except ValueError:
        pass  # a host that is none, such as `[`
    raise UsageError(
        "unsupported-registry",
        f"an address that starts with {url.partition(':')[0]}: is no address of a registry",
        why="it must have a host or a bucket, and neither a query, a fragment, a name nor a password",
        next="write it like https://host/folder or s3://bucket/folder",
    )


def conflict(where: str) -> CannotError:
    """The error for a commit that lost against another one."""
    return CannotError(
        "publish-conflict",
        "someone else changed the registry at the same moment",
        why=f"{where} is no longer in the state that this change was made for",
        next="run it again",
    )


def too_large(path: str, max_bytes: int) -> IntegrityError:
    """The error for a file that does not end where it must."""
    return IntegrityError("too-large", f"{path} is too large", why=f"more than {max_bytes:,} bytes")
