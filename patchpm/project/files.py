"""The two files of a project on disk."""

from __future__ import annotations

from pathlib import Path

from patchpm.errors import CannotError, StaleLockError
from patchpm.project.lock import Lock
from patchpm.project.lock_toml import FILE, read_lock, write_lock
from patchpm.project.project_file import FILE as PROJECT_FILE
from patchpm.project.project_file import ProjectFile


def lock_text(folder: Path) -> str | None:
    """The text of `patchpm.lock`, or None where there is none."""
    path = folder / FILE
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CannotError("unreadable-file", f"{FILE} cannot be read", why=f"{path}: {error}") from None


def load_lock(folder: Path) -> Lock:
    """Read `patchpm.lock` of a project folder.

    Raises:
        StaleLockError: `no-lock` where there is none.
        IntegrityError: As `read_lock`.
    """
    text = lock_text(folder)
    if text is None:
        raise StaleLockError(
            "no-lock", f"there is no {FILE} here", why=f"looked in {folder}", next="run `patchpm lock`"
        )
    return read_lock(text)


def check_fresh(project: ProjectFile, lock: Lock) -> None:
    """Make sure that the lock was made from these requirements.

    Raises:
        StaleLockError: `stale-lock`.
    """
    if lock.requirements != project.digest:
        raise StaleLockError(
            "stale-lock",
            f"{FILE} does not belong to this {PROJECT_FILE}",
            why="the requirements changed after the lock was made",
            next=f"run `patchpm lock` and commit {FILE}",
        )


def save_lock(folder: Path, lock: Lock) -> bool:
    """Write the lock, only if its bytes differ. Returns whether they did."""
    from patchpm.atomic_write import write_atomic

    text = write_lock(lock)
    if lock_text(folder) == text:
        return False
    write_atomic(folder / FILE, text.encode())
    return True


def save_project(folder: Path, text: str) -> None:
    """Write `patchpm.toml`."""
    from patchpm.atomic_write import write_atomic

    write_atomic(folder / PROJECT_FILE, text.encode())
