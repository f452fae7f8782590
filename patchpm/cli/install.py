"""`patchpm install`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.installation import Outcome, carry_out, fetch, report
from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.session import Session
from patchpm.errors import UsageError
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.requirement import Requirement
from patchpm.project.files import check_fresh, lock_text, staleness
from patchpm.project.project_file import ProjectFile, load_project_file, read_project_file, with_patch
from patchpm.settings import CI, is_set


@click.command(epilog="Example: patchpm install toxicity@1.2")
@click.argument("patches", nargs=-1, metavar="[PATCH[@RANGE]]...")
@click.option(
    "--frozen",
    is_flag=True,
    help="Install exactly what the lock says: no solver, no index, no write; fail if the lock is stale. "
    "The default without PATCH where CI=true.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@offline_option
@project_option
@json_option
def command(patches: tuple[str, ...], frozen: bool, dry_run: bool, offline: bool, folder: Path, as_json: bool) -> None:
    """Add each PATCH to the project, lock it and fetch it; without PATCH, install what the lock says.

    A PATCH is `toxicity`, `acme/toxicity`, or either with `@` and a range as npm has them: `@1.2`, `@^1.2`, `@1.2.3`.
    """
    if frozen and (patches or dry_run):
        raise UsageError("usage", "--frozen installs the lock as it is", next="leave out PATCH and --dry-run")
    session = Session(folder, offline=offline)
    if frozen or (not patches and is_set(CI)):
        _frozen(session, dry_run=dry_run, as_json=as_json)
        return
    wanted = [Requirement.parse(patch) for patch in patches]
    text, project = load_project_file(folder)
    named = [(session.full_name(item), item.range) for item in wanted]
    edited = text
    for name, chosen in named:
        if chosen is not None or name not in project.patches:
            edited = with_patch(edited, name, chosen or _newest(session, project, name))
    if not named and _is_fresh(session):
        fetched = 0 if dry_run else fetch(session, session.lock)
        report(session, Outcome(session.lock, (), fetched), as_json=as_json, dry_run=dry_run)
        return
    outcome = carry_out(
        session,
        edited if edited != text else None,
        read_project_file(edited),
        forget={name for name, chosen in named if chosen is not None}.__contains__,
        dry_run=dry_run,
    )
    report(session, outcome, as_json=as_json, dry_run=dry_run)


def _frozen(session: Session, *, dry_run: bool, as_json: bool) -> None:
    check_fresh(session.project, session.lock)
    fetched = 0 if dry_run else fetch(session, session.lock)
    report(session, Outcome(session.lock, (), fetched), as_json=as_json, dry_run=dry_run, frozen=True)


def _is_fresh(session: Session) -> bool:
    return lock_text(session.folder) is not None and staleness(session.project, session.lock) is None


def _newest(session: Session, project: ProjectFile, name: PatchName) -> Range:
    """The range to write for a patch that was asked for without one: `^` of the newest that the bases can have."""
    targets = session.targets(project, session.previous()[0])
    entries = [entry for entry in session.catalogue.entries(name) if entry.yanked is None]
    served = [entry for entry in entries if all(entry.base.match(target.fingerprint) for target in targets)]
    versions = [entry.version for entry in served or entries]
    final = [version for version in versions if not version.is_prerelease] or versions
    return Range.parse(f"^{max(final)}") if final else Range.parse("*")
