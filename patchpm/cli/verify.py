"""`patchpm verify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.evaluations import evaluations_to_json, show_evaluations
from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.output import bold, columns, emit, line, mark
from patchpm.cli.release_folder import read_release_folder, verify_folder
from patchpm.cli.session import Session
from patchpm.errors import ExitCode, UsageError
from patchpm.patch.strict_json import JsonValue
from patchpm.project.files import check_fresh
from patchpm.trust.release import Verdict

if TYPE_CHECKING:
    from patchpm.evaluate.claim_check import CheckedClaim


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(slots=True)
class _Subject:
    """A release that is looked at."""

    title: str
    verdict: Verdict
    base: str | None
    """Where its base model is, as the user says it."""
    claims: tuple[CheckedClaim, ...] | None = None
    """What became of its claims, where they were measured again."""


@click.command(epilog="Example: patchpm verify --claims --limit 20")
@click.argument("release", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--claims", is_flag=True, help="Measure on the base model what the patches claim, and compare.")
@click.option(
    "--base",
    help="With RELEASE and --claims: the base model that it was made for. With --endpoint: which base of the lock.",
)
@click.option("--suite", "suites", multiple=True, help="Suite that has the rows: a name, or a .toml file. (all)")
@click.option("--judge", help="Scorer that judges texts (default: profanity-model).")
@click.option("--limit", type=click.IntRange(min=1), help="Most rows of each part of a suite, for a quick look.")
@click.option("--endpoint", metavar="URL", help="Ask this OpenAI-compatible server, and say what it serves.")
@click.option("--model", help="With --endpoint: name of the model in the requests.")
@click.option(
    "--lock", type=_FILE, help="With --endpoint: the lock that the server must serve (default: the project's)."
)
@click.option("--probes", type=_FILE, help="With --endpoint: what `patchpm probe` wrote (default: beside the lock).")
@click.option("--endpoint-key", metavar="KEY", help="With --endpoint: public key of the statement that it must make.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=120.0,
    show_default=True,
    help="With --endpoint: most seconds for one answer.",
)
@offline_option
@project_option
@json_option
def command(
    release: Path | None,
    claims: bool,
    base: str | None,
    suites: tuple[str, ...],
    judge: str | None,
    limit: int | None,
    endpoint: str | None,
    model: str | None,
    lock: Path | None,
    probes: Path | None,
    endpoint_key: str | None,
    timeout: float,
    offline: bool,
    folder: Path,
    as_json: bool,
) -> int:
    """Check every hash and signature of what the lock pins, or of the release in folder RELEASE, and list each check.

    With --endpoint, a server is asked the probes of `patchpm probe` instead: it has the locked set, no patches, half of
    them, another order, or something else. The exit code is 4 if it is not the locked set.

    A signature says who made a patch, never that it is harmless. With --claims, what the patches claim is measured
    anew, each patch by itself on its base. A claim on other rows than this patchpm has is compared by its interval.
    The exit code is 6 if a claim does not hold.
    """
    if endpoint is not None:
        if release is not None or claims or suites or judge or limit:
            raise UsageError("usage", "--endpoint is a check of its own, without RELEASE and --claims")
        from patchpm.cli.endpoint_check import EndpointCheck, run_check

        asked = EndpointCheck(endpoint, model, lock, probes, base, endpoint_key, timeout)
        return run_check(asked, folder, as_json=as_json)
    if model or lock or probes or endpoint_key:
        raise UsageError("usage", "--model, --lock, --probes and --endpoint-key are for --endpoint")
    _check_usage(release, claims, base, bool(suites or judge or limit))
    session = Session(folder, offline=offline)
    found = _of_lock(session) if release is None else [_of_folder(session, release, base)]
    if claims:
        from patchpm.cli.claim_check import Measuring, check_claims

        beside = folder if release is None else Path()
        good = [item for item in found if item.verdict.ok]
        todo = [(item.verdict.require(), item.base or "", beside) for item in good]
        for item, checked in zip(good, check_claims(session, todo, Measuring(suites, judge, limit)), strict=True):
            item.claims = checked
    emit([_described(item) for item in found], lambda: _show(found), as_json=as_json)
    if not all(item.verdict.ok for item in found):
        return ExitCode.INTEGRITY
    broken = any(one.finding.holds is False for item in found for one in item.claims or ())
    return ExitCode.FINDINGS if broken else ExitCode.OK


def _check_usage(release: Path | None, claims: bool, base: str | None, measures: bool) -> None:
    if not claims and (base is not None or measures):
        raise UsageError("usage", "--base, --suite, --judge and --limit are for --claims")
    if claims and (release is None) != (base is None):
        raise UsageError(
            "usage",
            "a RELEASE needs its --base to be measured on; the project's own bases are in patchpm.toml",
            next="see `patchpm verify --help`",
        )


def _of_folder(session: Session, release: Path, base: str | None) -> _Subject:
    return _Subject(str(release), verify_folder(session, read_release_folder(release)), base)


def _of_lock(session: Session) -> list[_Subject]:
    check_fresh(session.project, session.lock)
    found = [
        _Subject(f"{locked.name} {locked.version} for {locked.base}", verdict, session.project.bases.get(locked.base))
        for locked, verdict in session.installer.verdicts(session.lock)
    ]
    if all(item.verdict.ok for item in found):
        for base in session.lock.bases:
            session.installer.load(session.lock, base.label)
    return found


def _show(found: list[_Subject]) -> None:
    for item in found:
        line(bold(item.title))
        columns((f"  {mark(check.status.value)}", check.name, check.detail) for check in item.verdict.checks)
        if item.verdict.release is not None:
            show_evaluations(item.verdict.release, indent="  ")
        if item.claims is not None:
            from patchpm.cli.claim_check import show_claims

            show_claims(item.claims)
    line(f"{sum(item.verdict.ok for item in found)} of {len(found)} releases verified")
    checked = [one for item in found for one in item.claims or ()]
    if any(item.claims is not None for item in found):
        from patchpm.cli.claim_check import show_outcome

        show_outcome(checked)


def _described(item: _Subject) -> JsonValue:
    found: dict[str, JsonValue] = {
        "release": item.title,
        "ok": item.verdict.ok,
        "checks": [
            {
                "name": check.name,
                "status": check.status.value,
                "detail": check.detail,
                "code": None if check.error is None else check.error.code,
            }
            for check in item.verdict.checks
        ],
        "evaluations": [] if item.verdict.release is None else evaluations_to_json(item.verdict.release),
    }
    if item.claims is not None:
        from patchpm.cli.claim_check import claims_to_json

        found["claims"] = claims_to_json(item.claims)
    return found
