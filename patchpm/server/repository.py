"""What a repository is, in values: itself, the names of its commits, and what a commit is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from patchpm.server.history import Commit

MAIN: Final = "main"
BRANCH, TAG, PULL = "branch", "tag", "pr"
OPEN, CLOSED, MERGED = "open", "closed", "merged"
"""What becomes of a pull request."""


class TakenError(Exception):
    """Someone else was faster: the head moved, or the name is there already."""


class GoneError(Exception):
    """The repository was dropped at the same moment."""


class ReleasedError(Exception):
    """It would change or drop a release."""


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository."""

    id: int
    kind: str
    namespace: str
    name: str
    private: bool
    created: datetime
    changed: datetime
    card: dict[str, Any]
    downloads: int

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Ref:
    """A name of a commit."""

    kind: str
    name: str
    sha: str


@dataclass(frozen=True, slots=True)
class Place:
    """A commit of a repository, with no more than giving out one of its files takes."""

    repo: int
    private: bool
    commit: Commit | None
    """None for a revision that is not there."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A file that a commit takes away."""

    path: str


@dataclass(frozen=True, slots=True)
class Description:
    """What a commit says of itself."""

    title: str
    message: str
    author: str


@dataclass(frozen=True, slots=True)
class Card:
    """What a repository says of itself to machines."""

    fields: dict[str, Any]
    tags: Sequence[str]
