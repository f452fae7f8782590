"""`patchpm remove`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.installation import carry_out, report
from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.session import Session
from patchpm.errors import CannotError
from patchpm.patch.requirement import Requirement
from patchpm.project.project_file import load_project_file, read_project_file, without_patch


@click.command(epilog="Example: patchpm remove toxicity")
@click.argument("patches", nargs=-1, required=True, metavar="PATCH...")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@offline_option
@project_option
@json_option
def command(patches: tuple[str, ...], dry_run: bool, offline: bool, folder: Path, as_json: bool) -> None:
    """Take each PATCH out of the project, and out of the lock what nothing else requires."""
    session = Session(folder, offline=offline)
    text, project = load_project_file(folder)
    for patch in patches:
        wanted = Requirement.parse(patch)
        found = [n for n in project.patches if n.name == wanted.name and wanted.vendor in (None, n.vendor)]
        if not found:
            raise CannotError(
                "not-required",
                f"patchpm.toml does not ask for {patch}",
                why=f"it asks for {', '.join(str(name) for name in project.patches) or 'nothing'}",
                next=f"`patchpm why {patch}` shows what brings it in",
            )
        for name in found:
            text = without_patch(text, name)
    outcome = carry_out(session, text, read_project_file(text), dry_run=dry_run)
    report(session, outcome, as_json=as_json, dry_run=dry_run)
