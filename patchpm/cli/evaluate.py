"""`patchpm evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.extra import require_extra
from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import columns, emit, line, note, warn
from patchpm.cli.stages import stages
from patchpm.errors import UsageError

if TYPE_CHECKING:
    from patchpm.data.suite import Suite
    from patchpm.evaluate.bench import StageProgress
    from patchpm.evaluate.results import Composition, Results


_Command = Callable[..., None]


def _file(name: str, says: str) -> Callable[[_Command], _Command]:
    """An option that names a file."""
    return click.option(name, type=click.Path(dir_okay=False, path_type=Path), help=says)


@click.command(epilog="Example: patchpm evaluate made/prefix.safetensors --base models/SmolLM2-135M-Instruct")
@click.argument("prefix", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--base", type=click.Path(file_okay=False, path_type=Path), help="Folder of the base model.")
@click.option("--set", "whole_set", is_flag=True, help="Measure what the project's lock applies, and its subsets.")
@click.option("--base-label", help="With --set: which base of the project (default: its only one).")
@click.option("--every-order", is_flag=True, help="With --set: measure every subset in every order.")
@click.option("--suite", "names", multiple=True, help="Suite to measure on: a name, or a .toml file (default: all).")
@click.option("--judge", help="Scorer that judges texts (default: profanity-model).")
@click.option("--limit", type=click.IntRange(min=1), help="Most rows of each part of a suite, for a quick look.")
@click.option("--bfloat16", is_flag=True, help="Multiply in bfloat16: a quick look, three times as fast on some CPUs.")
@_file("--used", "What training saw (default: used.json beside PREFIX); claims on such rows are refused.")
@_file("--out", "File to write the claims to, as JSON.")
@_file("--replies", "File to write every reply to, as JSON lines.")
@_file("--results", "File to write everything to, for a later report.")
@_file("--report", "HTML file to draw the results in.")
@click.option("--parts", is_flag=True, help="Print the claims of each part of a suite too.")
@project_option
@json_option
def command(
    prefix: Path | None,
    base: Path | None,
    whole_set: bool,
    base_label: str | None,
    every_order: bool,
    names: tuple[str, ...],
    judge: str | None,
    limit: int | None,
    bfloat16: bool,
    used: Path | None,
    out: Path | None,
    replies: Path | None,
    results: Path | None,
    report: Path | None,
    parts: bool,
    folder: Path,
    as_json: bool,
) -> None:
    """Measure PREFIX on held-out rows, without and with it; or, with --set, what the project's lock applies.

    Rows that the prefix was trained on are refused. What the base does by itself is measured once and kept.
    """
    _check_usage(prefix, base, whole_set, limit is not None or bfloat16, out)
    require_extra("train", "patchpm.evaluate.bench")
    from patchpm.atomic_write import write_atomic
    from patchpm.data.suite import load_suite, suite_names
    from patchpm.evaluate.claims import claims_file, replies_file
    from patchpm.evaluate.metrics import JUDGE
    from patchpm.evaluate.results import write_results
    from patchpm.settings import Folders
    from patchpm.train.base_model import BFLOAT16, FLOAT32

    precision = BFLOAT16 if bfloat16 else FLOAT32
    suites = [load_suite(name, Folders.of_user().cache) for name in names or suite_names()]
    with stages() as bars:

        def progress(part: str, done: int, whole: int) -> None:
            bars(part, done, whole, {})

        if prefix is not None and base is not None:
            found = _prefix(prefix, base, used, suites, judge or JUDGE, limit, precision, progress)
        else:
            found = _set(folder, base_label, every_order, suites, judge or JUDGE, limit, precision, progress)
    if out is not None:
        write_atomic(out, claims_file(found.claims))
    if replies is not None:
        write_atomic(replies, replies_file(found.exchanges))
    if results is not None:
        write_atomic(results, write_results(found))
    if report is not None:
        from patchpm.evaluate.report import write_report

        write_atomic(report, write_report(found).encode())
    _print(found, parts=parts, as_json=as_json)
    if limit is not None:
        note(f"measured on at most {limit} rows a part: a quick look, not claims")
    if bfloat16:
        note("measured in bfloat16: a quick look, not claims")


def _check_usage(prefix: Path | None, base: Path | None, whole_set: bool, quick: bool, out: Path | None) -> None:
    if whole_set == (prefix is not None) or (prefix is not None) != (base is not None):
        raise UsageError(
            "usage", "name a PREFIX and its --base, or ask for --set", next="see `patchpm evaluate --help`"
        )
    if quick and out is not None:
        raise UsageError(
            "usage", "figures of a quick look are no claims", next="leave out --limit, --bfloat16 or --out"
        )


def _prefix(
    prefix: Path,
    base: Path,
    used: Path | None,
    suites: list[Suite],
    judge: str,
    limit: int | None,
    precision: str,
    progress: StageProgress,
) -> Results:
    """Measure a prefix that is not released yet."""
    from patchpm.evaluate.bench import Bench
    from patchpm.evaluate.held_out import check_held_out
    from patchpm.evaluate.results import Results
    from patchpm.evaluate.run import evaluate
    from patchpm.train.matrix import read_matrix
    from patchpm.train.used import FILE, Used

    path = used or prefix.with_name(FILE)
    try:
        check_held_out(suites, Used.read(path.read_bytes()), judge)
    except OSError as error:
        if used is not None:
            raise UsageError("used-not-found", f"cannot read {used}", why=str(error.strerror)) from error
        warn(f"there is no {path}: whether the prefix was trained on held-out rows cannot be checked")
    bench = Bench.open(base, separator="", judge=judge, progress=progress, precision=precision)
    found = evaluate(bench, read_matrix(prefix, bench.model.hidden_size), suites, limit=limit)
    return Results(str(prefix), base.resolve().name, found.claims, found.changes, found.exchanges)


def _set(
    folder: Path,
    label: str | None,
    every: bool,
    suites: list[Suite],
    judge: str,
    limit: int | None,
    precision: str,
    progress: StageProgress,
) -> Results:
    """Measure the set of a lock as a whole, and its subsets if there are any."""
    import torch

    from patchpm.cli.locked_prefixes import locked_prefixes
    from patchpm.evaluate.bench import Bench
    from patchpm.evaluate.composition import NamedPrefix, compose, every_order, subsets
    from patchpm.evaluate.results import Results
    from patchpm.evaluate.run import evaluate

    locked = locked_prefixes(folder, label)
    patches = [
        NamedPrefix(
            str(release.manifest.name),
            release.manifest.domain,
            torch.tensor(release.matrix.rows(), dtype=torch.float32),
        )
        for release in locked.releases
    ]
    bench = Bench.open(locked.base, separator=locked.separator, judge=judge, progress=progress, precision=precision)
    found = evaluate(bench, bench.joined([patch.matrix for patch in patches]), suites, limit=limit)
    names = [patch.name for patch in patches]
    orders = every_order(names) if every else subsets(names)
    together = compose(bench, patches, suites, orders=orders, limit=limit) if len(patches) > 1 else None
    title = ", ".join(f"{release.manifest.name} {release.manifest.version}" for release in locked.releases)
    return Results(title, locked.label, found.claims, found.changes, found.exchanges, together)


def _print(found: Results, *, parts: bool, as_json: bool) -> None:
    from patchpm.evaluate.metrics import is_pooled, metric_of
    from patchpm.evaluate.results import change_to_json, composition_to_json
    from patchpm.patch.manifest_json import claim_to_json

    whole = {claim.metric for claim in found.claims if is_pooled(claim.suite)}

    def human() -> None:
        rows = []
        for claim, change in zip(found.claims, found.changes, strict=True):
            if parts or claim.metric not in whole or is_pooled(claim.suite):
                unit = metric_of(claim.metric).unit
                figures = [_figure(unit, value) for value in (claim.before, claim.after)]
                spread = f"{_figure(unit, claim.low)} to {_figure(unit, claim.high)}"
                moved = f"{_figure(unit, change.low)} to {_figure(unit, change.high)}"
                rows.append((claim.metric, claim.suite, f"{claim.n:,}", *figures, spread, moved))
        columns(rows, ("metric", "suite", "n", "without", "with", "95 % interval", "95 % of the change"))
        if found.composition is not None:
            line()
            _print_composition(found.composition)

    emit(
        {
            "claims": [claim_to_json(claim) for claim in found.claims],
            "changes": [change_to_json(change) for change in found.changes],
            "composition": None if found.composition is None else composition_to_json(found.composition),
        },
        human,
        as_json=as_json,
    )


def _print_composition(composition: Composition) -> None:
    from patchpm.evaluate.metrics import metric_of

    rows = []
    for cell in composition.cells:
        unit = metric_of(cell.metric).unit
        spread = f"{_figure(unit, cell.low)} to {_figure(unit, cell.high)}"
        kept = f"{cell.kept:.0%} of {cell.patch}" if cell.kept is not None else ""
        rows.append((", ".join(cell.order) or "none", cell.metric, _figure(unit, cell.value), spread, kept))
    columns(rows, ("patches in order", "metric", "figure", "95 % interval", "effect kept"))


def _figure(unit: str, value: float) -> str:
    """A figure as people read it."""
    if unit == "share":
        return f"{value:.1%}"
    return f"{value:.1f}" if unit in ("percent", "tokens", "ratio") else f"{value:.3f}"
