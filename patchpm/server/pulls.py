"""Pull requests: commits that someone without the right to write offers to a repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine, and_, func, insert, select, update

from patchpm.server.database import WRITING
from patchpm.server.ledger import lock
from patchpm.server.repository import MERGED, OPEN, PULL, Repo
from patchpm.server.tables import comments, commits, lines, pulls, refs


@dataclass(frozen=True, slots=True)
class Pull:
    """One pull request; its files are on `refs/pr/<number>`."""

    number: int
    title: str
    author: str
    status: str
    base: str
    """The commit that it was made from."""
    created: datetime


@dataclass(frozen=True, slots=True)
class Comment:
    """Something that was said."""

    id: int
    author: str
    content: str
    created: datetime


class Pulls:
    """The pull requests of all repositories.

    Args:
        engine: The database of the ledger.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, repo: Repo, title: str, text: str, author: str, base: str) -> Pull:
        """Start a pull request at a commit.

        Raises:
            GoneError: The repository was dropped at the same moment.
        """
        now = datetime.now(UTC)
        with self._engine.connect().execution_options(**WRITING) as db, db.begin():
            lock(db, repo)
            last = db.execute(select(func.max(pulls.c.number)).where(pulls.c.repo == repo.id)).scalar_one()
            made = Pull((last or 0) + 1, title, author, OPEN, base, now)
            start = db.execute(select(commits).where(commits.c.sha == base)).one()
            origin = {"from_line": start.line, "from_number": start.number}
            line = db.execute(insert(lines).values(repo=repo.id, **origin).returning(lines.c.id)).scalar_one()
            db.execute(insert(pulls).values(repo=repo.id, **{name: getattr(made, name) for name in Pull.__slots__}))
            db.execute(insert(refs).values(repo=repo.id, kind=PULL, name=str(made.number), sha=base, line=line))
            if text:
                values = {"author": author, "content": text, "created": now}
                db.execute(insert(comments).values(repo=repo.id, number=made.number, **values))
        return made

    def get(self, repo: Repo, number: int) -> Pull | None:
        """One pull request."""
        with self._engine.connect() as db:
            row = db.execute(_COLUMNS.where(pulls.c.repo == repo.id, pulls.c.number == number)).mappings().one_or_none()
        return None if row is None else Pull(**row)

    def page(
        self, repo: Repo, status: str | None, author: str | None, start: int, limit: int
    ) -> tuple[Sequence[Pull], int]:
        """Some pull requests, newest first, and how many there are."""
        conditions = [pulls.c.repo == repo.id]
        if status is not None:
            conditions.append(pulls.c.status == OPEN if status == OPEN else pulls.c.status != OPEN)
        if author is not None:
            conditions.append(pulls.c.author == author)
        wanted = _COLUMNS.where(*conditions).order_by(pulls.c.number.desc()).offset(start).limit(limit)
        with self._engine.connect() as db:
            count = db.execute(select(func.count()).select_from(pulls).where(*conditions)).scalar_one()
            return [Pull(**row) for row in db.execute(wanted).mappings()], count

    def comments(self, repo: Repo, number: int) -> Sequence[Comment]:
        """What was said, in order."""
        columns = select(comments.c.id, comments.c.author, comments.c.content, comments.c.created)
        wanted = columns.where(comments.c.repo == repo.id, comments.c.number == number).order_by(comments.c.id)
        with self._engine.connect() as db:
            return [Comment(**row) for row in db.execute(wanted).mappings()]

    def comment(self, repo: Repo, number: int, author: str, content: str) -> Comment:
        """Say something."""
        now = datetime.now(UTC)
        values = {"author": author, "content": content, "created": now}
        with self._engine.connect().execution_options(**WRITING) as db, db.begin():
            lock(db, repo)
            wanted = insert(comments).values(repo=repo.id, number=number, **values).returning(comments.c.id)
            return Comment(db.execute(wanted).scalar_one(), author, content, now)

    def set_status(self, repo: Repo, number: int, status: str) -> bool:
        """Close or open one; False where it is merged already."""
        here = and_(pulls.c.repo == repo.id, pulls.c.number == number, pulls.c.status != MERGED)
        with self._engine.connect().execution_options(**WRITING) as db, db.begin():
            return db.execute(update(pulls).where(here).values(status=status)).rowcount == 1


_COLUMNS: Final = select(*(pulls.c[name] for name in Pull.__slots__))
