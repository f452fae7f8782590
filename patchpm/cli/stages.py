"""Progress of a job that has several parts, one bar each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

StageProgress = Callable[[str, int, int, dict[str, float]], None]
"""Called with the part, what is done of it, what there is in all, and figures to show."""


def _silent(_part: str, _done: int, _total: int, _figures: dict[str, float]) -> None:
    """Show nothing."""


@contextmanager
def stages() -> Iterator[StageProgress]:
    """Show one bar for each part of a job, on stderr; nothing where nobody looks."""
    import sys

    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(part: str, done: int, total: int, figures: dict[str, float]) -> None:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
            if part not in tasks:
                tasks[part] = bars.add_task(part, figures="")
            bars.update(tasks[part], completed=done, total=total, figures=shown)

        yield advance
