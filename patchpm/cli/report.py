"""`patchpm report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.options import json_option
from patchpm.cli.output import emit, line, warn
from patchpm.errors import CannotError, UsageError

if TYPE_CHECKING:
    from patchpm.evaluate.measured import Run
    from patchpm.evaluate.results import Results


@click.command(
    epilog="Example: patchpm report made/results.json --out report.html --beside 'last month=old/claims.json'"
)
@click.argument("results", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="HTML file to write.")
@click.option("--title", help="What the page calls the measured prefix (default: as the results do).")
@click.option(
    "--beside",
    multiple=True,
    metavar="NAME=FILE",
    help="Another prefix to compare with: results or claims that `patchpm evaluate` wrote. May be repeated.",
)
@json_option
def command(results: Path, out: Path, title: str | None, beside: tuple[str, ...], as_json: bool) -> None:
    """Draw RESULTS, which `patchpm evaluate --results` wrote, as one HTML page.

    With --beside the page also shows what each prefix costs for what it does, and which of them no other beats. Nothing
    is measured, and no model is needed.
    """
    from dataclasses import replace

    from patchpm.atomic_write import write_atomic
    from patchpm.evaluate.measured import Run
    from patchpm.evaluate.report import write_report
    from patchpm.evaluate.report.beside import left_out

    named = [_named(word) for word in beside]
    others = dict(named)
    _check_files(out, [results, *others.values()])
    found = _results(results)
    found = replace(found, title=title or found.title)
    if len(others) < len(named) or found.title in others:
        raise UsageError(
            "usage",
            "two of the prefixes have the same name",
            why=f"they are called {', '.join([found.title, *(name for name, _ in named)])}",
            next="give each --beside a NAME of its own, or the results another --title",
        )
    runs = [_run(name, path) for name, path in others.items()]
    write_atomic(out, write_report(found, runs).encode())
    absent = [run.name for run in left_out([Run.of(found), *runs])]
    for name in absent:
        warn(f"{name} was measured on other rows, and is not drawn")
    drawn = [name for name in others if name not in absent]
    emit(
        {"report": str(out), "title": found.title, "beside": list(drawn), "left_out": list(absent)},
        lambda: line(f"wrote {out}"),
        as_json=as_json,
    )


def _named(word: str) -> tuple[str, Path]:
    """One `--beside`."""
    name, _, path = word.partition("=")
    if not name.strip() or not path:
        raise UsageError(
            "usage", f"--beside {word!r} is not NAME=FILE", next="for example --beside 'seed 2=claims.json'"
        )
    return name.strip(), Path(path)


def _check_files(out: Path, inputs: list[Path]) -> None:
    """Make sure that what was measured is not written over."""
    for path in inputs:
        if path.resolve() == out.resolve():
            raise UsageError("usage", f"--out is {path}, which is read", next="name another file for the page")


def _results(path: Path) -> Results:
    """What the page is about."""
    from patchpm.evaluate.results import MAX_BYTES, results_from
    from patchpm.patch import strict_json

    value = strict_json.loads(_read(path), source=path.name, max_bytes=MAX_BYTES)
    if isinstance(value, list):
        raise UsageError(
            "no-results",
            f"{path} holds claims, and a page is drawn from results",
            why="claims have no changes and no replies",
            next="measure with `patchpm evaluate --results FILE`; claims can stand --beside",
        )
    return results_from(value, path.name)


def _run(name: str, path: Path) -> Run:
    """A prefix to compare with."""
    from patchpm.evaluate.measured import read_run

    return read_run(name, _read(path), path.name)


def _read(path: Path) -> bytes:
    """A file of results or claims, to one byte beyond the largest size of either.

    Raises:
        CannotError: `unreadable-file`.
    """
    from patchpm.evaluate.results import MAX_BYTES

    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CannotError("unreadable-file", f"{path} cannot be read", why=str(error.strerror)) from None
