"""Finding repositories: by owner, words, and the tags of their cards, in pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Engine, Select, and_, or_, select, true

from patchpm.server.access import Caller
from patchpm.server.repository import Repo
from patchpm.server.tables import repo_tags, repos

MAX_PAGE: Final = 1000
SORTS: Final = {"lastModified": repos.c.changed, "createdAt": repos.c.created, "downloads": repos.c.downloads}


class CursorError(ValueError):
    """A cursor that this server did not make."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. All conditions hold at once."""

    kind: str
    tags: Sequence[str] = ()
    author: str | None = None
    words: Sequence[str] = ()
    sort: str = "lastModified"
    limit: int = MAX_PAGE
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Repositories, and the cursor of those that follow."""

    repos: Sequence[Repo]
    cursor: str | None


class Listing:
    """The repositories of a server, as a caller may see them.

    Args:
        engine: The database of the ledger.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, query: Query, caller: Caller) -> Page:
        """One page, the greatest by `query.sort` first.

        Raises:
            CursorError: The query's cursor is none.
        """
        column = SORTS[query.sort]
        wanted = _conditions(select(repos), query, caller)
        if query.cursor is not None:
            value, last = _read_cursor(query.cursor, is_time=query.sort != "downloads")
            wanted = wanted.where(or_(column < value, and_(column == value, repos.c.id < last)))
        wanted = wanted.order_by(column.desc(), repos.c.id.desc()).limit(query.limit + 1)
        with self._engine.connect() as db:
            found = [Repo(**row) for row in db.execute(wanted).mappings()]
        if len(found) <= query.limit:
            return Page(found, None)
        shown = found[: query.limit]
        value = {"lastModified": shown[-1].changed, "createdAt": shown[-1].created}.get(query.sort, shown[-1].downloads)
        return Page(shown, _cursor(value, shown[-1].id))

    def tags(self, found: Sequence[Repo]) -> dict[int, list[str]]:
        """What each of some repositories is found by."""
        wanted = select(repo_tags).where(repo_tags.c.repo.in_([repo.id for repo in found])).order_by(repo_tags.c.tag)
        tags: dict[int, list[str]] = {repo.id: [] for repo in found}
        with self._engine.connect() as db:
            for repo, tag in db.execute(wanted):
                tags[repo].append(tag)
        return tags


def seen_by(caller: Caller) -> ColumnElement[bool]:
    """The condition that a caller may know of a repository."""
    if caller.is_admin and caller.only is None:
        return true()
    names = {caller.name, caller.only, *caller.roles}
    mine = sorted(name for name in names if name is not None and caller.may_read(name))
    return or_(repos.c.private.is_(False), repos.c.namespace.in_(mine))


def _conditions(wanted: Select[tuple[object]], query: Query, caller: Caller) -> Select[tuple[object]]:
    wanted = wanted.where(repos.c.kind == query.kind)
    wanted = wanted.where(seen_by(caller))
    if query.author is not None:
        wanted = wanted.where(repos.c.namespace == query.author)
    for word in query.words:
        whole = (repos.c.namespace + "/" + repos.c.name).icontains(word, autoescape=True)
        wanted = wanted.where(whole)
    for tag in query.tags:
        wanted = wanted.where(repos.c.id.in_(select(repo_tags.c.repo).where(repo_tags.c.tag == tag)))
    return wanted


def _cursor(value: datetime | int, last: int) -> str:
    shown = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([shown, last]).encode()).decode()


def _read_cursor(text: str, *, is_time: bool) -> tuple[datetime | int, int]:
    try:
        value, last = json.loads(base64.urlsafe_b64decode(text.encode()))
        if type(last) is int and abs(last) < 2**31:
            if is_time:
                return datetime.fromisoformat(value), last
            if type(value) is int and abs(value) < 2**63:
                return value, last
    except (ValueError, TypeError, RecursionError, binascii.Error):
        pass
    raise CursorError("the cursor is not one of this server's")
