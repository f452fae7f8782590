"""`patchpm verify`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.output import bold, columns, emit, line, mark
from patchpm.cli.release_folder import read_release_folder
from patchpm.cli.session import Session
from patchpm.errors import CannotError, ExitCode
from patchpm.patch.release import ATTESTATIONS
from patchpm.project.files import check_fresh
from patchpm.trust.attestations import read_attestations
from patchpm.trust.release import Verdict, verify_release
from patchpm.trust.statement import RELEASE, ReleaseClaim


@click.command(epilog="Example: patchpm verify --json")
@click.argument("release", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@offline_option
@project_option
@json_option
def command(release: Path | None, offline: bool, folder: Path, as_json: bool) -> int:
    """Check every hash and signature of what the lock pins, or of the release in folder RELEASE, and list each check.

    A signature says who made a patch, never that it is harmless.
    """
    session = Session(folder, offline=offline)
    if release is not None:
        verdicts = [(str(release), _of_folder(session, release))]
    else:
        check_fresh(session.project, session.lock)
        verdicts = [
            (f"{locked.name} {locked.version} for {locked.base}", verdict)
            for locked, verdict in session.installer.verdicts(session.lock)
        ]
        if all(verdict.ok for _, verdict in verdicts):
            for base in session.lock.bases:
                session.installer.load(session.lock, base.label)

    def human() -> None:
        for title, verdict in verdicts:
            line(bold(title))
            columns((f"  {mark(check.status.value)}", check.name, check.detail) for check in verdict.checks)
        good = sum(verdict.ok for _, verdict in verdicts)
        line(f"{good} of {len(verdicts)} releases verified")

    emit(
        [
            {
                "release": title,
                "ok": verdict.ok,
                "checks": [
                    {
                        "name": check.name,
                        "status": check.status.value,
                        "detail": check.detail,
                        "code": None if check.error is None else check.error.code,
                    }
                    for check in verdict.checks
                ],
            }
            for title, verdict in verdicts
        ],
        human,
        as_json=as_json,
    )
    return ExitCode.OK if all(verdict.ok for _, verdict in verdicts) else ExitCode.INTEGRITY


def _of_folder(session: Session, folder: Path) -> Verdict:
    files = read_release_folder(folder)
    statement = next(
        (a.statement for a in read_attestations(files.attestations) if a.statement.predicate_type == RELEASE), None
    )
    if statement is None:
        raise CannotError("no-release-statement", f"{ATTESTATIONS} holds no release statement")
    vendor = ReleaseClaim.read(statement).name.vendor
    pinned = session.policy.vendor(vendor)
    keys = pinned.keys if pinned is not None else session.catalogue.vendor_keys(vendor)
    return verify_release(files, keys=keys.keys, threshold=keys.threshold, policy=session.policy, now=session.now)
