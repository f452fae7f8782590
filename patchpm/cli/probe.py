"""`patchpm probe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.atomic_write import write_atomic
from patchpm.cli.extra import needs_extra
from patchpm.cli.locked_set import LockedSet, locked_set
from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.output import columns, emit, line, note, progress, warn
from patchpm.cli.patched_model import base_option
from patchpm.cli.session import Session
from patchpm.errors import CannotError
from patchpm.guard.reference_json import FILE, load_references, write_references
from patchpm.guard.served import OtherRelease
from patchpm.guard.served_words import told
from patchpm.patch.strict_json import JsonValue

if TYPE_CHECKING:
    from patchpm.guard.reference import Reference


@click.command(epilog="Example: patchpm probe && git add patchpm.probes.json")
@base_option
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help=f"File to write (default: {FILE} of the project)."
)
@offline_option
@project_option
@json_option
def command(base: str | None, out: Path | None, offline: bool, folder: Path, as_json: bool) -> None:
    """Write down what a server of the locked patch set answers, so that `patchpm verify --endpoint` can recognise it.

    The base is run here, under the locked set and under each way to miss it: no patches, half of the rows, a patch left
    out, another order, another release of a patch (those before it and after it). From a pool of conversations,
    the few are kept whose first tokens tell these apart best. Run it again when the lock changes, and commit the file
    with the lock.
    """
    chosen = locked_set(folder, base)
    path = out or folder / FILE
    others = () if not path.exists() else load_references(path)
    made, alike = _measured(chosen, Session(folder, offline=offline))
    kept = [one for one in others if one.base != made.base]
    write_atomic(path, write_references(sorted([*kept, made], key=lambda one: str(one.base))))
    note(f"wrote {path}")
    for release in alike:
        warn(f"{release} answers so much like the locked one that a server of it is called right")
    emit(_described(made, alike), lambda: _show(made), as_json=as_json)


def _measured(chosen: LockedSet, session: Session) -> tuple[Reference, list[str]]:
    """The reference, and the releases that cannot be told from the locked ones."""
    if chosen.base.kind == "gguf":
        raise CannotError(
            "not-a-folder",
            f"{chosen.base.source} is a GGUF file, and the probes are measured on safetensors",
            next="give the safetensors folder of the model as base; what it answers is the reference for a GGUF too",
        )
    with needs_extra("model"):
        from patchpm.cli.other_releases import other_releases
        from patchpm.guard.measuring import measure_reference
        from patchpm.model.chat import load_model
    fingerprint = chosen.base.fingerprint
    releases = other_releases(session, fingerprint, chosen.patches)
    with progress("asking the base", unit="passes") as advance:
        made = measure_reference(
            lambda: load_model(chosen.base.source), chosen.patches, fingerprint, releases=releases, progress=advance
        )
    known = {one.served for one in made.alternatives}
    return made, [
        f"{release.name} {release.version}"
        for release in releases
        if OtherRelease(release.name, release.version) not in known
    ]


def _show(made: Reference) -> None:
    line(f"{len(made.probes)} probes for {', '.join(made.patches)}, set {made.set}")
    columns(
        (
            (told(one.served), f"{one_distance:.3f}")
            for one, one_distance in sorted(made.separations(), key=lambda item: item[1])
        ),
        ("if a server has", "it is away by"),
    )
    for one in made.noise:
        line(f"the right set in {one.arithmetic}: {one.distance:.3f}")
    line(f"up to {made.threshold:.3f} counts as the right set")


def _described(made: Reference, alike: list[str]) -> JsonValue:
    return {
        "set": str(made.set),
        "base": str(made.base),
        "probes": [str(probe.messages[-1]["content"]) for probe in made.probes],
        "threshold": made.threshold,
        "separation": made.separation,
        "noise": {one.arithmetic: one.distance for one in made.noise},
        "alternatives": [
            {"kind": one.served.kind, "served": told(one.served), "distance": round(distance, 4)}
            for one, distance in made.separations()
        ],
        "not_told_apart": [*alike],
    }
