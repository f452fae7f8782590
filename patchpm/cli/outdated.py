"""`patchpm outdated`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.output import columns, emit, line
from patchpm.cli.session import Session
from patchpm.errors import ExitCode
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.resolve.problem import Target


@click.command(epilog="Example: patchpm outdated --check")
@click.option("--check", is_flag=True, help="End with exit code 6 if something is outdated or yanked.")
@offline_option
@project_option
@json_option
def command(check: bool, offline: bool, folder: Path, as_json: bool) -> int:
    """Show locked patches of which there is a newer version for every base of the project, or that were yanked."""
    session = Session(folder, offline=offline)
    targets = [Target(base.label, base.fingerprint) for base in session.lock.bases]
    rows = [
        row
        for name, version in sorted(session.lock.versions().items())
        if (row := _row(session, targets, name, version)) is not None
    ]

    def human() -> None:
        columns(
            [
                (str(r["name"]), str(r["locked"]), str(r["allowed"]), str(r["newest"]), str(r["yanked"] or ""))
                for r in rows
            ],
            ("patch", "locked", "allowed", "newest", "yanked"),
        )
        if not rows:
            line("everything is up to date")

    emit([dict(row) for row in rows], human, as_json=as_json)
    return ExitCode.FINDINGS if rows and check else ExitCode.OK


def _row(session: Session, targets: list[Target], name: PatchName, version: Version) -> dict[str, str | None] | None:
    entries = session.catalogue.entries(name)
    yanked = next((entry.yanked for entry in entries if entry.version == version and entry.yanked is not None), None)
    usable = {
        entry.version
        for entry in entries
        if entry.yanked is None and (version.is_prerelease or not entry.version.is_prerelease)
    }
    served = [
        found
        for found in usable
        if all(any(e.version == found and e.base.match(target.fingerprint) for e in entries) for target in targets)
    ]
    wanted = session.project.patches.get(name, Range.parse("*"))
    newest = max([*served, version])
    allowed = max([*(found for found in served if wanted.contains(found)), version])
    if newest == version and yanked is None:
        return None
    return {
        "name": str(name),
        "locked": str(version),
        "allowed": str(allowed),
        "newest": str(newest),
        "yanked": yanked,
    }
