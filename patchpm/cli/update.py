"""`patchpm update`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.installation import carry_out, report
from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.session import Session
from patchpm.errors import CannotError
from patchpm.patch.name import PatchName
from patchpm.patch.requirement import Requirement
from patchpm.project.project_file import load_project_file


@click.command(epilog="Example: patchpm update toxicity")
@click.argument("patches", nargs=-1, metavar="[PATCH]...")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@offline_option
@project_option
@json_option
def command(patches: tuple[str, ...], dry_run: bool, offline: bool, folder: Path, as_json: bool) -> None:
    """Move PATCH, or every patch, to the newest version that patchpm.toml allows. The file itself is not changed."""
    session = Session(folder, offline=offline)
    wanted = [Requirement.parse(patch) for patch in patches]
    _, project = load_project_file(folder)
    _, pinned = session.previous()
    for item in wanted:
        if not any(_means(item, name) for name in pinned):
            raise CannotError("not-locked", f"{item.name} is not in the lock", next="`patchpm list` shows what is")
    outcome = carry_out(
        session,
        None,
        project,
        forget=lambda name: not wanted or any(_means(item, name) for item in wanted),
        dry_run=dry_run,
    )
    report(session, outcome, as_json=as_json, dry_run=dry_run)


def _means(wanted: Requirement, name: PatchName) -> bool:
    return name.name == wanted.name and wanted.vendor in (None, name.vendor)
