"""Making a folder in one step: it is there whole, or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchpm.atomic_write import TEMPORARY_SUFFIX, explained, sync_folder
from patchpm.errors import UsageError
from patchpm.export.provenance import FILE_NAME


@contextmanager
def new_folder(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `out`, which becomes `out` at the end of the `with` block.

    If the block fails or is interrupted, nothing is left and an earlier export at `out` stays as it was.

    Args:
        out: Not there, or an empty folder.
        replace: Whether an earlier export may stand there; it is deleted in the end.

    Raises:
        UsageError: `output-exists`.
        CannotError: `disk-full`, `read-only`, `cannot-write`.
    """
    out = out.absolute()
    with explained(out):
        check_free(out, replace=replace)
    mark = f"{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    temporary, aside = (out.with_name(f".{out.name}.{part}{mark}") for part in ("", "old."))
    try:
        with explained(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            _sync_all(temporary)
            check_free(out, replace=replace)
            try:
                if out.exists():
                    out.replace(aside)
                temporary.replace(out)
            except BaseException:
                if aside.exists():
                    aside.replace(out)
                raise
            sync_folder(out.parent)
            shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync_all(folder: Path) -> None:
    """Make everything in a folder survive a power cut."""
    for path in folder.rglob("*"):
        sync_folder(path)
    sync_folder(folder)


def check_free(out: Path, *, replace: bool) -> None:
    """Refuse a place where something stands that is not to be replaced.

    Raises:
        UsageError: `output-exists`.
    """
    if not out.exists() and not out.is_symlink():
        return
    if out.is_dir() and not out.is_symlink():
        if not any(out.iterdir()):
            return
        if (out / FILE_NAME).is_file():
            if replace:
                return
            raise UsageError(
                "output-exists",
                f"{out} holds an earlier export",
                next="name another folder, or say --force to replace it",
            )
    raise UsageError(
        "output-exists",
        f"{out} is there already and is no export of patchpm",
        why="patchpm replaces nothing that it did not write",
        next="name a folder that is not there yet",
    )
