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


def staleness(project: ProjectFile, lock: Lock) -> str | None:
    """Why the lock is not one of these requirements, or None.

    Whoever edits a lock can make its digests fit, so what it pins is held against the requirements themselves.
    """
    if lock.requirements != project.digest:
        return "the requirements changed after the lock was made"
    if {item.base for item in lock.compositions} != set(project.bases):
        return f"it has no patch set for each of the bases {', '.join(project.bases)}"
    for composition in lock.compositions:
        if composition.anchor != project.anchor or composition.tokens > project.max_tokens:
            return f"its patch set for {composition.base} is not for {project.anchor}, or too large"
        for name, wanted in project.patches.items():
            release = lock.release(name, composition.base)
            if release is None or not wanted.contains(release.version, prereleases=True):
                pinned = "nothing" if release is None else release.version
                return f"{project.origin(name)} asks for {name} {wanted}, and it pins {pinned} for {composition.base}"
    return None


def check_fresh(project: ProjectFile, lock: Lock) -> None:
    """Make sure that the lock was made from these requirements, and meets them.

    Raises:
        StaleLockError: `stale-lock`.
    """
    why = staleness(project, lock)
    if why is not None:
        raise StaleLockError(
            "stale-lock",
            f"{FILE} does not belong to this {PROJECT_FILE}",
            why=why,
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
