"""How often repositories are downloaded, counted without making anyone who reads wait for someone who writes."""

from __future__ import annotations

import asyncio
from collections import Counter
from threading import Lock
from typing import Final

from sqlalchemy import Engine, bindparam, update
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from patchpm.json_log import REGISTRY_LOG as LOG
from patchpm.server.database import WRITING
from patchpm.server.history import Entry
from patchpm.server.tables import repos

_SECONDS: Final = 10.0
_WEIGHTS: Final = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".onnx")


def counts(entry: Entry) -> bool:
    """Whether giving this file out is a download of its repository: it holds weights, not words about them."""
    return entry.lfs or entry.path.endswith(_WEIGHTS)


class Downloads:
    """Counts that are kept in memory and added to the database every few seconds.

    A server that is killed forgets what it counted since then.

    Args:
        engine: The database of the ledger.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._pending: Counter[int] = Counter()

    def add(self, repo: int) -> None:
        """Count one download."""
        with self._lock:
            self._pending[repo] += 1

    def flush(self) -> None:
        """Add what was counted to the database; where that fails, keep it for the next time."""
        with self._lock:
            pending, self._pending = self._pending, Counter()
        if not pending:
            return
        here = update(repos).where(repos.c.id == bindparam("repo"))
        counted = here.values(downloads=repos.c.downloads + bindparam("more"))
        try:
            with self._engine.connect().execution_options(**WRITING) as db, db.begin():
                db.execute(counted, [{"repo": repo, "more": more} for repo, more in sorted(pending.items())])
        except SQLAlchemyError as error:
            LOG.warning("downloads not counted yet", extra={"fields": {"error": type(error).__name__}})
            with self._lock:
                self._pending.update(pending)

    async def keep(self) -> None:
        """Flush every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(_SECONDS)
            await run_in_threadpool(self.flush)
