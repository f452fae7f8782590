"""The folder of the exports that patchpm keeps to serve: what it takes, and clearing it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from patchpm.atomic_write import explained
from patchpm.store.store import Usage

FOLDER: Final = "exports"
LOCK: Final = ".lock"
"""In the folder of each export; held by whoever writes it."""


def usage(cache: Path) -> Usage:
    """Count what is kept in patchpm's cache folder. Files that are linked from a base take no space of their own."""
    found = [path.lstat() for path in (cache / FOLDER).rglob("*") if path.is_file() and path.name != LOCK]
    return Usage(len(found), sum(status.st_size for status in found if status.st_nlink == 1))


def clean(cache: Path) -> Usage:
    """Delete all of it; an engine that runs keeps what it has open. Returns what there was.

    Raises:
        CannotError: `read-only`, `cannot-write`.
    """
    from filelock import FileLock

    before = usage(cache)
    for lock in sorted((cache / FOLDER).glob(f"*/{LOCK}")):
        with explained(lock.parent), FileLock(lock):
            for path in lock.parent.iterdir():
                if path == lock:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
    return before
