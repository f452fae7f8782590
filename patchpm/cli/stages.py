"""Progress of a job that has several parts: a bar each on a terminal, and elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

StageProgress = Callable[[str, int, int, dict[str, float]], None]
"""Called with the part, what is done of it, what there is in all, and figures to show."""
SECONDS = 30.0
"""Between two lines of a part, at least."""


class LineProgress:
    """Says where a job stands in plain lines, for logs of CI and of jobs in the background.

    A part has a line when it begins and when it ends, and in between one every 30 seconds at most.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        """Take the outside world.

        Args:
            write: Told each line.
            clock: Seconds since any fixed time.
        """
        self._write = write
        self._clock = clock
        self._began: dict[str, tuple[float, int]] = {}
        """When each part was first heard of, and what was done of it then."""
        self._done: dict[str, int] = {}
        self._said: dict[str, float] = {}

    def __call__(self, part: str, done: int, total: int, figures: dict[str, float]) -> None:
        """Hear of some progress."""
        now = self._clock()
        if done <= self._done.get(part, done):  # it is new, or starts once more on other rows
            self._began[part] = (now, done)
        began, before = self._began[part]
        self._done[part] = done
        if part in self._said and done < total and now - self._said[part] < SECONDS:
            return
        self._said[part] = now
        shown = [f"{part} {done:,}/{total:,}", *(f"{name} {value:.3f}" for name, value in figures.items())]
        if before < done < total:
            shown.append(f"{_span((now - began) / (done - before) * (total - done))} left")
        self._write("  ".join(shown))


@contextmanager
def stages() -> Iterator[StageProgress]:
    """Show on stderr how far each part of a job is."""
    if not sys.stderr.isatty():
        from patchpm.cli.output import note

        yield LineProgress(note, time.monotonic)
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


def _span(seconds: float) -> str:
    """A time as people say it: `45s`, `12m`, `3h20m`."""
    if seconds < 100:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02}m"
