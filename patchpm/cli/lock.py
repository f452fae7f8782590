"""`patchpm lock`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.installation import carry_out, report
from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.output import emit, line
from patchpm.cli.session import Session
from patchpm.project.files import check_fresh
from patchpm.project.project_file import load_project_file


@click.command(epilog="Example: patchpm lock --check")
@click.option("--check", is_flag=True, help="Write nothing; fail unless the lock belongs to patchpm.toml.")
@offline_option
@project_option
@json_option
def command(check: bool, offline: bool, folder: Path, as_json: bool) -> None:
    """Resolve and write patchpm.lock without fetching. Settles a lock with merge conflict markers too."""
    session = Session(folder, offline=offline)
    if check:
        check_fresh(session.project, session.lock)
        emit({"fresh": True}, lambda: line("patchpm.lock belongs to patchpm.toml"), as_json=as_json)
        return
    _, project = load_project_file(folder)
    outcome = carry_out(session, None, project, only_lock=True)
    report(session, outcome, as_json=as_json)
