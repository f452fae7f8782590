"""How commands speak: data to stdout, everything else to stderr, colour only where a person looks."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import click

from patchpm.errors import PatchpmError
from patchpm.patch.strict_json import JsonValue

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_COLOUR = None if "NO_COLOR" not in os.environ else False


def emit(value: JsonValue, human: Callable[[], None], *, as_json: bool) -> None:
    """Print the result of a command: `value` as JSON, or what `human` prints."""
    if as_json:
        click.echo(_written(value))
    else:
        human()


def line(text: str = "") -> None:
    """Print one line of data."""
    click.echo(text, color=_COLOUR)


def note(text: str) -> None:
    """Tell a person something that is not data."""
    click.echo(text, err=True, color=_COLOUR)


def warn(text: str) -> None:
    """Tell a person something to act on."""
    note(f"{click.style('warning:', fg='yellow', bold=True)} {text}")


def plain(text: str) -> str:
    """What a model or a stranger said, without characters that could steer the terminal of whoever reads it."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def _written(value: JsonValue) -> str:
    """`value` as JSON that a terminal shows as it is: what could steer it stands as an escape."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def bold(text: str) -> str:
    """Emphasise what a line is about."""
    return click.style(text, bold=True)


def mark(status: str) -> str:
    """A check's status, coloured: `pass`, `fail` or `skip`."""
    return click.style(status, fg={"pass": "green", "fail": "red"}.get(status, "yellow"))


def columns(rows: Iterable[Sequence[str]], heading: Sequence[str] = ()) -> None:
    """Print rows in aligned columns, with a bold heading where a person looks."""
    table = [tuple(row) for row in rows]
    if not table:
        return
    if heading:
        table.insert(0, tuple(heading))
    widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*table, strict=True)]
    for number, row in enumerate(table):
        padded = [cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)]
        text = "  ".join(padded).rstrip()
        line(bold(text) if heading and number == 0 else text)


def print_error(error: PatchpmError, *, as_json: bool) -> None:
    """Print an error to stderr: what, why, what to do next."""
    if as_json:
        value: JsonValue = {"error": {"code": error.code, "what": error.what, "why": error.why, "next": error.next}}
        click.echo(_written(value), err=True)
        return
    note(f"{click.style('error:', fg='red', bold=True)} {plain(error.what)} [{error.code}]")
    for text in error.why.splitlines():
        note(f"  {plain(text)}")
    if error.next:
        note(f"{click.style('hint:', fg='cyan', bold=True)} {plain(error.next)}")


@contextmanager
def progress(label: str, *, unit: str = "items") -> Iterator[Callable[[int, int], None]]:
    """Show the progress of a job that may be long, to a person only; nothing for the first second.

    Yields:
        A function to call with what is done and what there is in all.
    """
    if not sys.stderr.isatty():
        yield _silent
        return
    import time

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counter = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        counter,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(label, total=None)
    started = time.monotonic()

    def advance(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if not bar.live.is_started and time.monotonic() - started > 1:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()


def _silent(done: int, total: int) -> None:
    del done, total
