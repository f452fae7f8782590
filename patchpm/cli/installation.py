"""The work that install, remove, update and lock share: requirements to lock, lock to store, and telling about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from patchpm.cli.output import emit, line, note, progress, warn
from patchpm.cli.session import Session
from patchpm.errors import NetworkError
from patchpm.patch.name import PatchName
from patchpm.patch.strict_json import JsonValue
from patchpm.patch.version import Version
from patchpm.project.changes import Change, changes
from patchpm.project.files import save_lock, save_project
from patchpm.project.lock import Lock
from patchpm.project.project_file import ProjectFile


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did, or would do."""

    lock: Lock
    changed: tuple[Change, ...]
    fetched: int
    """Releases that were not in the store."""


def relock(
    session: Session, project: ProjectFile, forget: Callable[[PatchName], bool], *, anew: bool = False
) -> tuple[Lock | None, Lock]:
    """Resolve a project anew, staying with the locked versions but for those that `forget` lets go.

    Args:
        session: Where.
        project: What is wanted.
        forget: Which locked versions may move.
        anew: Replace a lock that is damaged, instead of refusing it.

    Returns:
        The lock that was there, if it could be read, and the new one.
    """
    from patchpm.project.locking import make_lock

    previous, pinned = session.previous(anew=anew)
    keep: dict[PatchName, Version] = {name: version for name, version in pinned.items() if not forget(name)}
    targets = session.targets(project, previous)
    before = () if previous is None else previous.releases
    lock = make_lock(project, targets, session.catalogue, session.policy, session.now, keep=keep, before=before)
    return previous, lock


def fetch(session: Session, lock: Lock) -> int:
    """Bring everything a lock names into the store, verified. Returns how many releases were fetched."""
    from patchpm.registry.fetching import fetch_release

    fetched = 0
    with progress("installing") as advance:
        found = session.installer.install(
            lock, lambda release: fetch_release(session.policy, release, offline=session.offline)
        )
        for number, (_, was_fetched) in enumerate(found, start=1):
            fetched += was_fetched
            advance(number, len(lock.releases))
    return fetched


def carry_out(
    session: Session,
    text: str | None,
    project: ProjectFile,
    *,
    forget: Callable[[PatchName], bool] = lambda _: False,
    dry_run: bool = False,
    only_lock: bool = False,
) -> Outcome:
    """Lock and install a project, and write its files last, so that a failure leaves them as they were.

    Args:
        session: Where.
        text: New text of patchpm.toml, or None to leave it.
        project: What the text says.
        forget: Which locked versions may move.
        dry_run: Only find out.
        only_lock: Write the lock, fetch nothing.
    """
    previous, lock = relock(session, project, forget, anew=only_lock)
    changed = changes(previous, lock)
    if dry_run:
        return Outcome(lock, changed, 0)
    fetched = 0 if only_lock else fetch(session, lock)
    if text is not None:
        save_project(session.folder, text)
    save_lock(session.folder, lock)
    return Outcome(lock, changed, fetched)


def report(session: Session, outcome: Outcome, *, as_json: bool, dry_run: bool = False, frozen: bool = False) -> None:
    """Print what came of it, with a warning for releases that were withdrawn; a frozen install asks no index."""
    if not frozen:
        for reason in withdrawn(session, outcome.lock):
            warn(reason)

    def human() -> None:
        for change in outcome.changed:
            line(str(change))
        if not outcome.changed:
            line("nothing changed")
        for composition in outcome.lock.compositions:
            order = " then ".join(str(name) for name in composition.order) or "no patches"
            line(f"{composition.base}: {order} ({composition.tokens} tokens at {composition.anchor})")
        if dry_run:
            note("dry run: nothing was written")

    emit(described(outcome, dry_run=dry_run), human, as_json=as_json)


def withdrawn(session: Session, lock: Lock) -> list[str]:
    """Why releases in the lock were yanked or deprecated, as far as the registries say now."""
    found = set()
    try:
        for release in lock.releases:
            for entry in session.catalogue.entries(release.name):
                if entry.path != release.path:
                    continue
                if entry.yanked is not None:
                    found.add(f"{release.name} {release.version} is yanked: {entry.yanked}")
                if entry.deprecated is not None:
                    found.add(f"{release.name} {release.version} is deprecated: {entry.deprecated}")
    except NetworkError as error:
        note(f"whether anything was yanked is not known: {error.what}")
    return sorted(found)


def described(outcome: Outcome, *, dry_run: bool) -> JsonValue:
    """The outcome as JSON."""
    return {
        "changes": [
            {
                "name": str(change.name),
                "before": None if change.before is None else str(change.before),
                "after": None if change.after is None else str(change.after),
            }
            for change in outcome.changed
        ],
        "sets": [
            {
                "base": item.base,
                "anchor": item.anchor,
                "order": [str(name) for name in item.order],
                "tokens": item.tokens,
                "digest": str(item.digest),
            }
            for item in outcome.lock.compositions
        ],
        "fetched": outcome.fetched,
        "dry_run": dry_run,
    }
