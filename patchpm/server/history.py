"""The files of a repository at one of its commits.

A commit's files are those of its line up to its number, and what of the line that it started from is not covered by
them, and so on.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, Row, bindparam, func, select
from sqlalchemy import and_ as both

from patchpm.server.database import SINGLE
from patchpm.server.recent import Recent
from patchpm.server.tables import commits, entries, lines

_PAGE: Final = 500
_KEPT: Final = 8192
# Made once: to put a statement together costs more than to run it.
_ORIGIN: Final = select(lines.c.from_line, lines.c.from_number).where(lines.c.id == bindparam("id"))
_NEWEST: Final = (
    select(entries)
    .where(
        entries.c.line == bindparam("line"),
        entries.c.path == bindparam("path"),
        entries.c.number <= bindparam("number"),
    )
    .order_by(entries.c.number.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Commit:
    """A state of a repository."""

    sha: str
    line: int
    number: int
    title: str
    message: str
    author: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit."""

    path: str
    sha256: str
    """Of the bytes."""
    size: int
    oid: str
    """What git calls it: the SHA-1 of a blob."""
    lfs: bool


class History:
    """Reads files at commits.

    Args:
        db: An open connection.
    """

    def __init__(self, db: Connection) -> None:
        self._db = db

    def entry(self, commit: Commit, path: str) -> Entry | None:
        """One file of a commit."""
        for line, number in self._ancestry(commit):
            row = self._db.execute(_NEWEST, {"line": line, "path": path, "number": number}).one_or_none()
            if row is not None:
                return _entry(row)
        return None

    def files(self, commit: Commit, folder: str = "", *, after: str = "") -> Iterator[Entry]:
        """The files of a commit below a folder, by path, from the first one after `after` on."""
        streams = [
            ((row.path, depth, row) for row in self._line(line, number, folder, after))
            for depth, (line, number) in enumerate(self._ancestry(commit))
        ]
        last = None
        for path, _, row in heapq.merge(*streams, key=lambda item: item[:2]):
            if path == last:
                continue  # a nearer line has it
            last = path
            found = _entry(row)
            if found is not None:
                yield found

    def commits(self, commit: Commit, *, before: int | None = None) -> Iterator[Commit]:
        """A commit and those that led to it, newest first; only those below the number `before`, if given."""
        for line, number in self._ancestry(commit):
            top = number if before is None else min(number, before - 1)
            wanted = select(commits).where(commits.c.line == line, commits.c.number <= top)
            for row in self._db.execute(wanted.order_by(commits.c.number.desc())).mappings():
                yield Commit(**row)

    def _ancestry(self, commit: Commit) -> Iterator[tuple[int, int]]:
        """The lines that a commit's files are on, its own first, each with the last number that counts."""
        line, number = commit.line, commit.number
        while line is not None:
            yield line, number
            origin = self._db.execute(_ORIGIN, {"id": line}).one_or_none()
            if origin is None:  # the repository went at the same moment
                return
            line, number = origin

    def _line(self, line: int, number: int, folder: str, after: str) -> Iterator[Row[tuple[object, ...]]]:
        # In pages along the primary key, so that a listing costs what is read of it.
        same = entries.alias()
        newest = (
            select(func.max(same.c.number))
            .where(same.c.line == line, same.c.path == entries.c.path, same.c.number <= number)
            .scalar_subquery()
        )
        wanted = select(entries).where(entries.c.line == line, entries.c.number == newest)
        if folder:
            # "0" follows "/"
            wanted = wanted.where(both(entries.c.path >= f"{folder}/", entries.c.path < f"{folder}0"))
        while True:
            page = self._db.execute(wanted.where(entries.c.path > after).order_by(entries.c.path).limit(_PAGE)).all()
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].path


class Entries:
    """Single files of commits. What a commit holds never changes, so what was asked for lately is kept.

    Args:
        engine: The database of the ledger.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: Recent[tuple[str, str], Entry] = Recent(_KEPT)

    def get(self, commit: Commit, path: str) -> Entry | None:
        """See `History.entry`."""
        found = self._known.get((commit.sha, path))
        if found is None:
            with self._engine.connect().execution_options(**SINGLE) as db:
                found = History(db).entry(commit, path)
            if found is not None:
                self._known.keep((commit.sha, path), found)
        return found


def _entry(row: Row[tuple[object, ...]]) -> Entry | None:
    return None if row.sha256 is None else Entry(row.path, row.sha256, row.size, row.oid, row.lfs)
