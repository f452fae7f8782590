"""Writing a folder that is there whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchpm.atomic_write import TEMPORARY_SUFFIX, explained, sync_folder
from patchpm.errors import UsageError


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a folder beside `path`, and rename it to `path` when all of it is written.

    Yields:
        The folder to write to.

    Raises:
        UsageError: `already-there`.
        CannotError: `disk-full`, `read-only` or `cannot-write`, with nothing left behind.
    """
    if path.exists() or path.is_symlink():
        raise UsageError("already-there", f"{path} exists already", next="name a folder that does not exist yet")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        with explained(path):
            temporary.mkdir(parents=True)
            yield temporary
            sync_folder(temporary)
            temporary.rename(path)
            sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
