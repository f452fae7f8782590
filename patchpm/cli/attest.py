"""`patchpm attest`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.evaluations import ANCHOR
from patchpm.cli.extra import require_extra
from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.output import columns, emit, line, note, warn
from patchpm.cli.release_folder import read_release_folder, verify_folder
from patchpm.cli.session import Session
from patchpm.cli.signing import key_option, load_keys, passphrase_option
from patchpm.errors import CannotError, IntegrityError
from patchpm.patch.manifest import Claim
from patchpm.patch.release import ATTESTATIONS

if TYPE_CHECKING:
    from patchpm.trust.evaluation import Evaluation
    from patchpm.trust.release import VerifiedRelease

_NOTHING = Claim("nothing", "nothing", 1, 0, 0, 0, 0)
"""Stands for the figures until there are some."""


@click.command(epilog="Example: patchpm attest release --base models/SmolLM2-135M-Instruct --key labx")
@click.argument("release", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--base", required=True, help="The base model that the release is made for, as a folder.")
@click.option("--suite", "suites", multiple=True, help="Suite to measure on: a name, or a .toml file (default: all).")
@click.option("--judge", help="Scorer that judges texts (default: profanity-model).")
@key_option
@passphrase_option
@offline_option
@project_option
@json_option
def command(
    release: Path,
    base: str,
    suites: tuple[str, ...],
    judge: str | None,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    offline: bool,
    folder: Path,
    as_json: bool,
) -> None:
    """Measure the release in folder RELEASE, and add the signed figures to it, as an evaluator does.

    The release is verified first, and every row of the suites is measured: figures of a quick look are never signed.
    What comes out is signed whether or not it agrees with what the vendor claims.
    """
    from patchpm.atomic_write import write_atomic
    from patchpm.trust.attestations import attest
    from patchpm.trust.statement import EVALUATION

    require_extra("train", "patchpm.evaluate.bench")
    signers = load_keys(keys, passphrase_file)
    session = Session(folder, offline=offline)
    files = read_release_folder(release)
    verified = verify_folder(session, files, to_evaluate=True).require()
    evaluation = _measure(session, verified, base, suites, judge)
    # Someone else may have signed while this one measured; what was measured stays what it was.
    files = replace(files, attestations=read_release_folder(release).attestations)
    signed = attest(files, EVALUATION, evaluation.to_json(), signers)
    verify_folder(session, signed, to_evaluate=True).require()
    if signed != files:
        write_atomic(release / ATTESTATIONS, signed.attestations)
    _print(verified, evaluation, changed=signed != files, as_json=as_json)


def _measure(
    session: Session, release: VerifiedRelease, location: str, names: tuple[str, ...], judge: str | None
) -> Evaluation:
    import torch

    from patchpm import __version__
    from patchpm.cli.bases import measure
    from patchpm.cli.locked_prefixes import base_folder
    from patchpm.cli.stages import stages
    from patchpm.data.suite import load_suite, suite_names
    from patchpm.evaluate.bench import Bench
    from patchpm.evaluate.metrics import JUDGE
    from patchpm.evaluate.run import evaluate
    from patchpm.trust.evaluation import Evaluation, SuiteRef

    manifest = release.manifest
    if ANCHOR not in manifest.prefix.anchors:
        raise CannotError(
            "cannot-measure",
            f"{manifest.name} cannot be measured",
            why=f"it stands at {', '.join(manifest.prefix.anchors)}, and this patchpm measures at {ANCHOR}",
        )
    base = base_folder(session, location, Path(), [manifest])
    tensors = measure(location, Path()).fingerprint.tensors
    if tensors != manifest.base.tensors:
        raise IntegrityError(
            "base-mismatch",
            f"{location} is a copy of the model that {manifest.name} was made for, and not that model",
            why=f"its tensors are {tensors}; the release is for {manifest.base.tensors}",
            next="measure on the weights as the vendor has them, so that the figures can be compared",
        )
    chosen = [load_suite(name, session.folders.cache) for name in sorted(set(names)) or suite_names()]
    draft = Evaluation(
        suites=tuple(sorted(SuiteRef(suite.name, suite.digest) for suite in chosen)),
        judge=judge or JUDGE,
        base=tensors,
        code=f"patchpm {__version__}",
        claims=(_NOTHING,),
    )
    draft.to_json()  # what cannot be signed is refused now, not after hours of measuring
    with stages() as bars:

        def progress(part: str, done: int, whole: int) -> None:
            bars(part, done, whole, {})

        bench = Bench.open(base, separator=manifest.prefix.separator, judge=draft.judge, progress=progress)
        found = evaluate(bench, torch.tensor(release.matrix.rows(), dtype=torch.float32), chosen)
    return replace(draft, claims=found.claims)


def _print(release: VerifiedRelease, evaluation: Evaluation, *, changed: bool, as_json: bool) -> None:
    from patchpm.cli.evaluations import checked_to_json, versus
    from patchpm.evaluate.claim_check import contradictions
    from patchpm.patch.manifest_json import claim_to_json

    against = contradictions(release.manifest.claims, evaluation.claims)
    name = f"{release.manifest.name} {release.manifest.version} for {release.manifest.base.name}"

    def human() -> None:
        line(f"signed {len(evaluation.claims)} figures of {name}" if changed else f"{name} has these figures already")
        columns((f"  {one.claim.metric}", one.claim.suite, versus(one), one.finding.why) for one in against)

    emit(
        {
            "name": str(release.manifest.name),
            "version": str(release.manifest.version),
            "changed": changed,
            "claims": [claim_to_json(claim) for claim in evaluation.claims],
            "contradicts": [checked_to_json(one) for one in against],
        },
        human,
        as_json=as_json,
    )
    if against:
        warn(f"{len(against)} claims of the vendor are contradicted; the evaluation says so to whoever believes you")
    note("whether the prefix was trained on these rows cannot be seen from a release; rows of your own are safest")
