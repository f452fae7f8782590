"""`patchpm info`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.evaluations import evaluations_to_json, show_evaluations
from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.output import bold, columns, emit, line
from patchpm.cli.session import Session
from patchpm.errors import CannotError
from patchpm.patch.manifest_json import claim_to_json
from patchpm.patch.requirement import Requirement
from patchpm.registry.index import ReleaseEntry
from patchpm.trust.release import VerifiedRelease


@click.command(epilog="Example: patchpm info harmfulness")
@click.argument("patch")
@offline_option
@project_option
@json_option
def command(patch: str, offline: bool, folder: Path, as_json: bool) -> None:
    """Show PATCH: its versions and bases, and of the newest (that fits the range, if one is given) what it claims.

    The release is fetched and verified, so the claims are what the vendor signed.
    """
    session = Session(folder, offline=offline)
    wanted = Requirement.parse(patch)
    name = session.full_name(wanted)
    entries = sorted(session.catalogue.entries(name), key=lambda entry: (entry.version, entry.base.name))
    fitting = [e for e in entries if wanted.range is None or wanted.range.contains(e.version)]
    usable = [e for e in fitting if e.yanked is None] or fitting
    if not usable:
        known = ", ".join(str(v) for v in sorted({entry.version for entry in entries}))
        raise CannotError("unknown-patch", f"there is no {patch}", why=f"known versions: {known or 'none'}")
    newest = next((e for e in reversed(usable) if not e.version.is_prerelease), usable[-1])
    release = session.verified_entry(newest)
    emit(
        {
            "name": str(name),
            "summary": newest.summary,
            "domain": newest.domain,
            "licence": release.manifest.licence,
            "registry": newest.registry,
            "releases": [
                {
                    "version": str(e.version),
                    "base": e.base.name,
                    "tokens": e.tokens,
                    "yanked": e.yanked,
                    "deprecated": e.deprecated,
                }
                for e in entries
            ],
            "version": str(newest.version),
            "anchors": list(newest.anchors),
            "training": {
                "method": release.manifest.training.method,
                "teacher": release.manifest.training.teacher,
                "seed": release.manifest.training.seed,
                "code": release.manifest.training.code,
                "data": [{"name": d.name, "licence": d.licence} for d in release.manifest.training.data],
            },
            "claims": [claim_to_json(claim) for claim in release.manifest.claims],
            "signers": [str(key) for key in sorted(release.signers)],
            "threshold": release.vendor_keys.threshold,
            "evaluators": list(release.evaluators),
            "evaluations": evaluations_to_json(release),
        },
        lambda: _show(entries, newest, release),
        as_json=as_json,
    )


def _remark(entry: ReleaseEntry) -> str:
    if entry.yanked is not None:
        return f"yanked: {entry.yanked}"
    return "" if entry.deprecated is None else f"deprecated: {entry.deprecated}"


def _show(entries: list[ReleaseEntry], newest: ReleaseEntry, release: VerifiedRelease) -> None:
    manifest = release.manifest
    line(f"{bold(str(newest.name))}  {newest.summary}")
    columns(
        [
            ("domain", newest.domain),
            ("licence", manifest.licence),
            ("registry", newest.registry),
            ("anchors", ", ".join(newest.anchors)),
            ("trained", f"{manifest.training.method} from {manifest.training.teacher}, seed {manifest.training.seed}"),
            ("signed by", ", ".join(str(key) for key in sorted(release.signers))),
            ("evaluated by", ", ".join(release.evaluators) or "nobody whom the policy names"),
        ]
    )
    line()
    columns(
        [(str(e.version), e.base.name, str(e.tokens), _remark(e)) for e in reversed(entries)],
        ("version", "base", "tokens", ""),
    )
    line()
    line(bold(f"claims of {newest.version} for {newest.base.name}"))
    columns(
        [
            (c.metric, c.suite, str(c.n), f"{c.before:.3g}", f"{c.after:.3g}", f"{c.low:.3g} to {c.high:.3g}")
            for c in manifest.claims
        ],
        ("metric", "held-out set", "n", "before", "after", "95 %"),
    )
    if release.evaluations:
        line()
        show_evaluations(release)
