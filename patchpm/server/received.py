"""Which uploaded files a caller may put into a repository.

Blobs are shared by all repositories, and a commit names them by digest. Digests are no secret: they are in locks and
manifests. So a digest gives nobody a file; they must have sent its bytes, or see it in a repository that they may read.
"""

from __future__ import annotations

from sqlalchemy import Engine, insert, or_, select
from sqlalchemy.exc import IntegrityError as DatabaseConflict

from patchpm.server.access import Caller
from patchpm.server.database import SINGLE, WRITING
from patchpm.server.listing import seen_by
from patchpm.server.repository import Repo
from patchpm.server.tables import entries, lines, received, repos


class Received:
    """The uploads of all repositories.

    Args:
        engine: The database of the ledger.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, repo: int, sha256: str) -> None:
        """Note that a file was sent for a repository, if that is still there."""
        try:
            with self._engine.connect().execution_options(**WRITING) as db, db.begin():
                db.execute(insert(received).values(repo=repo, sha256=sha256))
        except DatabaseConflict:
            pass  # it was noted before, or the repository is gone

    def may_use(self, repo: Repo, sha256: str, caller: Caller) -> bool:
        """Whether a caller may put a file into a repository by its digest alone."""
        sent = select(received.c.repo).where(received.c.repo == repo.id, received.c.sha256 == sha256)
        holder = select(repos.c.id).join(lines, lines.c.repo == repos.c.id).join(entries, entries.c.line == lines.c.id)
        seen = holder.where(entries.c.sha256 == sha256, or_(repos.c.id == repo.id, seen_by(caller)))
        with self._engine.connect().execution_options(**SINGLE) as db:
            return bool(db.execute(select(or_(sent.exists(), seen.exists()))).scalar_one())
