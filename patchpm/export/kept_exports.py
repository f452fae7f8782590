"""The folder of the exports that patchpm keeps to serve: what it takes, and clearing it."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Final

from patchpm.atomic_write import TEMPORARY_SUFFIX, explained
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
                # Out of its place in one step: what is left of it, should this be killed, is nobody's export.
                gone = path.with_name(f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
                path.replace(gone)
                shutil.rmtree(gone) if gone.is_dir() and not gone.is_symlink() else gone.unlink()
    return before
