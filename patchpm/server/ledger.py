"""What a registry server knows of repositories: their commits, and the names of commits, in one database.

Every change is one transaction. Blobs are written to the store before the commit that names them, so a server that is
killed leaves blobs that nobody names, and nothing else.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError as DatabaseConflict

from patchpm.server.database import SINGLE, WRITING
from patchpm.server.history import Commit, Entry
from patchpm.server.recent import Recent
from patchpm.server.repository import (
    BRANCH,
    MAIN,
    MERGED,
    OPEN,
    PULL,
    TAG,
    Card,
    Description,
    GoneError,
    Place,
    Ref,
    ReleasedError,
    Removal,
    Repo,
    TakenError,
)
from patchpm.server.tables import commits, entries, lines, pulls, refs, repo_tags, repos

_PULL_PREFIX: Final = "refs/pr/"
_KEPT_COMMITS: Final = 4096
_PLACE: Final = (
    select(repos.c.id, repos.c.private, commits)
    .outerjoin(
        refs,
        and_(
            refs.c.repo == repos.c.id,
            refs.c.name == bindparam("ref"),
            refs.c.kind.in_(bindparam("kinds", expanding=True)),
        ),
    )
    .outerjoin(commits, commits.c.sha == refs.c.sha)
    .where(
        repos.c.kind == bindparam("of"),
        repos.c.namespace == bindparam("namespace"),
        repos.c.name == bindparam("repo_name"),
    )
    .order_by(refs.c.kind.desc())
    .limit(1)
)


class Ledger:
    """The repositories of a server.

    Args:
        engine: SQLite or PostgreSQL.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._commits: Recent[tuple[int, str], Commit] = Recent(_KEPT_COMMITS)

    def create(self, kind: str, namespace: str, name: str, *, private: bool, author: str) -> Repo:
        """Make an empty repository, with a first commit on `main`.

        Raises:
            TakenError: There is one of that name.
        """
        now = datetime.now(UTC)
        values = {"kind": kind, "namespace": namespace, "name": name, "private": private, "card": {}, "downloads": 0}
        with self._writing(f"{namespace}/{name}") as db:
            wanted = insert(repos).values(**values, created=now, changed=now).returning(*repos.c)
            made = Repo(**db.execute(wanted).mappings().one())
            line = _new_line(db, made.id, None)
            first = _append(db, line, 0, Description("initial commit", "", author))
            db.execute(insert(refs).values(repo=made.id, kind=BRANCH, name=MAIN, sha=first.sha, line=line))
        return made

    def repo(self, kind: str, namespace: str, name: str) -> Repo | None:
        """The repository of that name."""
        wanted = select(repos).where(repos.c.kind == kind, repos.c.namespace == namespace, repos.c.name == name)
        with self._engine.connect().execution_options(**SINGLE) as db:
            row = db.execute(wanted).mappings().one_or_none()
        return None if row is None else Repo(**row)

    def place(self, kind: str, namespace: str, name: str, revision: str) -> Place | None:
        """What a path of a download names, in one statement, or two for a SHA that was not asked for lately."""
        names = _names_of(revision)
        wanted = {"of": kind, "namespace": namespace, "repo_name": name, "ref": names[0][1]}
        with self._engine.connect().execution_options(**SINGLE) as db:
            row = db.execute(_PLACE, wanted | {"kinds": [kind for kind, _ in names]}).one_or_none()
            if row is None:
                return None
            repo, private, *of_commit = row
            if of_commit[0] is not None:
                return Place(repo, private, Commit(*of_commit))
            return Place(repo, private, self._by_sha(db, repo, revision))

    def delete(self, repo: Repo) -> None:
        """Drop a repository with all that is in it.

        Raises:
            ReleasedError: It holds releases.
        """
        try:
            with self._writing(repo.full_name) as db:
                lock(db, repo)
                db.execute(delete(refs).where(refs.c.repo == repo.id))
                db.execute(delete(repos).where(repos.c.id == repo.id))
        except TakenError as error:
            raise ReleasedError(repo.full_name) from error

    def set_private(self, repo: Repo, private: bool) -> None:
        """Hide a repository, or show it."""
        with self._writing(repo.full_name) as db:
            db.execute(update(repos).where(repos.c.id == repo.id).values(private=private))

    def find(self, repo: Repo, revision: str) -> Commit | None:
        """The commit that a tag, a branch, `refs/pr/N` or a full SHA names.

        A tag hides a branch of its name: releases stay what they are.
        """
        with self._engine.connect() as db:
            return _named(db, repo, _names_of(revision)) or self._by_sha(db, repo.id, revision)

    def refs(self, repo: Repo) -> list[Ref]:
        """All names of commits, sorted."""
        wanted = select(refs.c.kind, refs.c.name, refs.c.sha).where(refs.c.repo == repo.id)
        with self._engine.connect() as db:
            return [Ref(*row) for row in db.execute(wanted.order_by(refs.c.kind, refs.c.name))]

    def commit(
        self,
        repo: Repo,
        branch: str,
        changes: Sequence[Entry | Removal],
        description: Description,
        *,
        parent: str,
        card: Card | None = None,
        merges: int | None = None,
    ) -> Commit:
        """Add a commit to a branch.

        Args:
            repo: The repository.
            branch: Or `refs/pr/N`.
            changes: Files whose blobs are stored, and removals.
            description: What it says of itself.
            parent: The SHA that the branch must be at.
            card: What the repository's card is from now on; None where it stays.
            merges: Number of the open pull request that this is.

        Raises:
            TakenError: The branch is elsewhere, or moved at the same moment; or the pull request is not open.
            LookupError: There is no such branch.
        """
        kind, name = _ref_of(branch)
        here = and_(refs.c.repo == repo.id, refs.c.kind == kind, refs.c.name == name)
        with self._writing(branch) as db:
            lock(db, repo)
            before = _named(db, repo, [(kind, name)])
            if before is None:
                raise LookupError(branch)
            if before.sha != parent:
                raise TakenError(branch)
            line = db.execute(select(refs.c.line).where(here)).scalar_one()
            made = _append(db, line, before.number + 1, description)
            _record(db, made, changes)
            moved = db.execute(update(refs).where(here, refs.c.sha == before.sha).values(sha=made.sha))
            if moved.rowcount != 1:
                raise TakenError(branch)
            db.execute(update(repos).where(repos.c.id == repo.id).values(changed=made.created))
            if card is not None:
                _set_card(db, repo, card)
            if merges is not None:
                this = and_(pulls.c.repo == repo.id, pulls.c.number == merges, pulls.c.status == OPEN)
                if db.execute(update(pulls).where(this).values(status=MERGED)).rowcount != 1:
                    raise TakenError(branch)
        return made

    def add_tag(self, repo: Repo, tag: str, commit: Commit) -> None:
        """Name a commit.

        Raises:
            TakenError: The tag, or a branch of its name, is there.
        """
        with self._writing(tag) as db:
            lock(db, repo)
            if _named(db, repo, [(BRANCH, tag)]) is not None:
                raise TakenError(tag)
            db.execute(insert(refs).values(repo=repo.id, kind=TAG, name=tag, sha=commit.sha))

    def add_branch(self, repo: Repo, branch: str, commit: Commit) -> None:
        """Start a branch, or a pull request, at a commit.

        Raises:
            TakenError: It, or a tag of its name, is there.
        """
        kind, name = _ref_of(branch)
        with self._writing(branch) as db:
            lock(db, repo)
            if kind == BRANCH and _named(db, repo, [(TAG, name)]) is not None:
                raise TakenError(branch)
            line = _new_line(db, repo.id, commit)
            db.execute(insert(refs).values(repo=repo.id, kind=kind, name=name, sha=commit.sha, line=line))

    def remove_ref(self, repo: Repo, kind: str, name: str) -> bool:
        """Drop a tag or a branch; False where there is none.

        Raises:
            ReleasedError: The tag names a release.
        """
        here = and_(refs.c.repo == repo.id, refs.c.kind == kind, refs.c.name == name)
        try:
            with self._writing(name) as db:
                lock(db, repo)
                return db.execute(delete(refs).where(here)).rowcount == 1
        except TakenError as error:
            raise ReleasedError(name) from error

    def _by_sha(self, db: Connection, repo: int, sha: str) -> Commit | None:
        if len(sha) != 40:
            return None
        known = self._commits.get((repo, sha))
        if known is None:
            wanted = select(commits).join(lines).where(lines.c.repo == repo, commits.c.sha == sha)
            row = db.execute(wanted).mappings().one_or_none()
            if row is None:
                return None
            known = Commit(**row)
            self._commits.keep((repo, sha), known)
        return known

    @contextmanager
    def _writing(self, what: str) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(**WRITING) as db, db.begin():
                yield db
        except DatabaseConflict as error:
            raise TakenError(what) from error


def lock(db: Connection, repo: Repo) -> None:
    """Let nobody else change a repository until the transaction ends; the first thing that all who change it do.

    Raises:
        GoneError: Someone dropped it.
    """
    if db.execute(select(repos.c.id).where(repos.c.id == repo.id).with_for_update()).first() is None:
        raise GoneError(repo.full_name)


def _new_line(db: Connection, repo: int, start: Commit | None) -> int:
    origin = {} if start is None else {"from_line": start.line, "from_number": start.number}
    return int(db.execute(insert(lines).values(repo=repo, **origin).returning(lines.c.id)).scalar_one())


def _append(db: Connection, line: int, number: int, description: Description) -> Commit:
    made = Commit(
        sha=secrets.token_hex(20),
        line=line,
        number=number,
        title=description.title,
        message=description.message,
        author=description.author,
        created=datetime.now(UTC),
    )
    db.execute(insert(commits).values(**{name: getattr(made, name) for name in Commit.__slots__}))
    return made


def _record(db: Connection, made: Commit, changes: Sequence[Entry | Removal]) -> None:
    place = {"line": made.line, "number": made.number}
    rows: dict[str, dict[str, object]] = {}
    for change in changes:
        if isinstance(change, Entry):
            rows[change.path] = place | {name: getattr(change, name) for name in Entry.__slots__}
        else:
            rows[change.path] = place | {"path": change.path, "sha256": None, "size": 0, "oid": "", "lfs": False}
    if rows:
        db.execute(insert(entries), list(rows.values()))


def _set_card(db: Connection, repo: Repo, card: Card) -> None:
    db.execute(update(repos).where(repos.c.id == repo.id).values(card=card.fields))
    db.execute(delete(repo_tags).where(repo_tags.c.repo == repo.id))
    if card.tags:
        db.execute(insert(repo_tags), [{"repo": repo.id, "tag": tag} for tag in card.tags])


def _named(db: Connection, repo: Repo, names: Sequence[tuple[str, str]]) -> Commit | None:
    chosen = or_(*(and_(refs.c.kind == kind, refs.c.name == name) for kind, name in names))
    wanted: Select[Any] = select(commits).join(refs, refs.c.sha == commits.c.sha).where(refs.c.repo == repo.id, chosen)
    row = db.execute(wanted.order_by(refs.c.kind.desc()).limit(1)).mappings().one_or_none()
    return None if row is None else Commit(**row)


def _names_of(revision: str) -> list[tuple[str, str]]:
    """Kinds and names of all refs that a client may mean."""
    if revision.startswith("refs/tags/"):
        return [(TAG, revision.removeprefix("refs/tags/"))]
    kind, name = _ref_of(revision)
    return [(kind, name)] if name != revision else [(TAG, name), (BRANCH, name)]


def _ref_of(revision: str) -> tuple[str, str]:
    """Kind and name of what a client calls a branch."""
    if revision.startswith(_PULL_PREFIX):
        return PULL, revision.removeprefix(_PULL_PREFIX)
    return BRANCH, revision.removeprefix("refs/heads/")
