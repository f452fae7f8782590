"""`patchpm report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.options import json_option
from patchpm.cli.output import emit, line
from patchpm.errors import CannotError, UsageError

if TYPE_CHECKING:
    from patchpm.evaluate.other_run import OtherRun


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
    from patchpm.evaluate.report import write_report
    from patchpm.evaluate.results import read_results

    found = read_results(_read(results), str(results))
    found = replace(found, title=title or found.title)
    others = [_other(word) for word in beside]
    names = [found.title, *(other.name for other in others)]
    if len(set(names)) < len(names):
        raise UsageError("usage", "two of the prefixes have the same name", next="give each --beside another NAME")
    write_atomic(out, write_report(found, others).encode())
    emit(
        {"report": str(out), "title": found.title, "beside": [other.name for other in others]},
        lambda: line(f"wrote {out}"),
        as_json=as_json,
    )


def _other(word: str) -> OtherRun:
    """One `--beside`."""
    from patchpm.evaluate.other_run import read_other_run

    name, equals, path = word.partition("=")
    if not name or not equals or not path:
        raise UsageError("usage", f"--beside {word!r} is not NAME=FILE")
    return read_other_run(name, _read(Path(path)), path)


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
