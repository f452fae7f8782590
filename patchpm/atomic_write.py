"""Writing a file so that a reader sees the old bytes or the new ones, whatever happens in between."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from patchpm.errors import CannotError

TEMPORARY_SUFFIX = ".patchpm-tmp"
"""Ends the name of every file that is still being written; whoever finds an old one may delete it."""


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path`, creating its folder, by a temporary file beside it, fsync and rename.

    Raises:
        CannotError: `disk-full`, `read-only` or `cannot-write`, with nothing changed on disk.
    """
    with open_atomic(path, mode=mode) as file:
        file.write(data)


@contextmanager
def open_atomic(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` when the block ends well, and is gone when it does not.

    Raises:
        CannotError: As `write_atomic`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode), "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames within `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into errors with a next step."""
    try:
        yield
    except OSError as error:
        why = f"{path}: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CannotError(
                "disk-full", "the disk is full", why=why, next="free some space and run it again"
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise CannotError(
                "read-only",
                "patchpm may not write there",
                why=why,
                next="set PATCHPM_HOME to a folder you can write to",
            ) from error
        raise CannotError("cannot-write", f"could not write {path.name}", why=why) from error
