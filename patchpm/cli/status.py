"""`patchpm status`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click

from patchpm.cli.bases import measure
from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.output import columns, emit, line, mark
from patchpm.cli.session import Session
from patchpm.errors import ExitCode, IntegrityError, PatchpmError
from patchpm.project.files import check_fresh
from patchpm.project.lock import Lock

_Row = tuple[str, str, str]
"""What was looked at, `pass`, `fail` or `skip`, and what was found."""


@click.command(epilog="Example: patchpm status --json")
@offline_option
@project_option
@json_option
def command(offline: bool, folder: Path, as_json: bool) -> int:
    """Show the state of project, lock, bases, installed releases and registries, and what to do about each fault.

    Ends with exit code 6 if something is wrong. `patchpm verify` lists every single check of the releases.
    """
    session = Session(folder, offline=offline)
    rows = list(_rows(session))

    def human() -> None:
        columns((mark(status), title, detail) for title, status, detail in rows)
        bad = sum(status == "fail" for _, status, _ in rows)
        line(f"{bad} faults" if bad else "all is well")

    emit(
        [{"title": title, "status": status, "detail": detail} for title, status, detail in rows], human, as_json=as_json
    )
    return ExitCode.FINDINGS if any(status == "fail" for _, status, _ in rows) else ExitCode.OK


def _rows(session: Session) -> Iterator[_Row]:
    yield _tried("policy", lambda: f"{len(session.policy.registries)} registries")
    project = _tried("project", lambda: f"{len(session.project.patches)} patches asked for")
    yield project
    lock = _tried("lock", lambda: _lock(session))
    if project[1] == "pass":
        known = session.lock if lock[1] == "pass" else None
        for label, location in session.project.bases.items():
            yield _tried(f"base {label}", partial(_base, session, label, location, known))
    yield lock
    if lock[1] == "pass":
        for composition in session.lock.compositions:
            yield _tried(f"set for {composition.base}", partial(_set, session, composition.base))
    for registry in session.policy.registries:
        yield _tried(f"registry {registry.alias}", partial(_registry, session, registry.alias))


def _tried(title: str, look: Callable[[], str]) -> _Row:
    try:
        return title, "pass", look()
    except PatchpmError as error:
        hint = f"; {error.next}" if error.next else ""
        return title, "fail", f"{error.what} [{error.code}]{hint}"


def _lock(session: Session) -> str:
    check_fresh(session.project, session.lock)
    return f"{len(session.lock.releases)} releases"


def _base(session: Session, label: str, location: str, lock: Lock | None) -> str:
    measured = measure(location, session.folder)
    locked = [] if lock is None else [base.fingerprint for base in lock.bases if base.label == label]
    if locked and measured.fingerprint.tensors != locked[0].tensors:
        raise IntegrityError(
            "base-mismatch", "it is not the model that the lock was made for", next="put it back, or run `patchpm lock`"
        )
    return f"{measured.fingerprint.tensors} ({measured.assurance.name.lower()})"


def _set(session: Session, label: str) -> str:
    composition, releases = session.installer.load(session.lock, label)
    return f"{len(releases)} releases verified, {composition.tokens} tokens, {composition.digest}"


def _registry(session: Session, alias: str) -> str:
    unreached = session.catalogue.unreached(alias)
    if unreached is not None:
        raise unreached
    seen = session.catalogue.versions(alias)
    return f"root {seen.root}, targets {seen.targets}, snapshot {seen.snapshot}, timestamp {seen.timestamp}"
