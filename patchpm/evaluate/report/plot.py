"""Rows of a dot-and-interval chart: SVG as wide as its column, so that text beside it keeps its size on a phone.

All horizontal coordinates are per cent of the width, so a row needs no script to fit. Colours are classes of the
page's style sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from patchpm.evaluate.report.axis import Axis
from patchpm.evaluate.report.judgement import Finding, Verdict
from patchpm.evaluate.report.text import plain

_TONES = {Verdict.BETTER: "good", Verdict.WORSE: "bad", Verdict.UNCLEAR: "calm", Verdict.CHANGED: "calm"}
_ARROWS = {
    True: "M6 2.2 10.4 9.6H1.6Z",
    False: "M6 9.8 1.6 2.4h8.8Z",
}
_LEVEL = "M1.5 4.2h9M1.5 7.8h9"


def tone(verdict: Verdict) -> str:
    """The class that colours a verdict: `good`, `bad` or `calm`."""
    return _TONES[verdict]


def arrow(finding: Finding) -> str:
    """A small picture of which way the figure went; two level bars where that cannot be told."""
    if finding.verdict is Verdict.UNCLEAR:
        return f'<svg class="mark" viewBox="0 0 12 12" aria-hidden="true"><path class="level" d="{_LEVEL}"/></svg>'
    return f'<svg class="mark" viewBox="0 0 12 12" aria-hidden="true"><path d="{_ARROWS[finding.moved > 0]}"/></svg>'


def axis_row(axis: Axis, label: Callable[[float], str]) -> str:
    """The marks above a chart; the table beside it gives every figure, so a reader's voice passes over them."""
    ticks = axis.ticks
    marks = "".join(
        f'<text x="{axis.percent(tick)}" y="14" class="{_anchor(number, len(ticks))}">{plain(label(tick))}</text>'
        for number, tick in enumerate(ticks)
    )
    return f'<svg class="axis" width="100%" height="20" aria-hidden="true">{marks}</svg>'


def dumbbell(axis: Axis, finding: Finding, title: str, description: str) -> str:
    """A hollow dot for the figure without the patch, a full one with its interval for that with it."""
    claim, colour = finding.claim, tone(finding.verdict)
    before, after = axis.percent(claim.before), axis.percent(claim.after)
    return (
        f'{_open(title, description)}{_grid(axis)}<g class="{colour}">'
        f'<line class="path" x1="{before}" x2="{after}" y1="50%" y2="50%"/>'
        f"{_interval(axis, claim.low, claim.high)}"
        f'<circle class="before" cx="{before}" cy="50%" r="4.5"/>'
        f'<circle class="after" cx="{after}" cy="50%" r="5.5"/></g></svg>'
    )


def strip(axis: Axis, values: Sequence[float], title: str, description: str) -> str:
    """One dot a value, the least of them marked."""
    least = min(values)
    dots = "".join(
        f'<circle class="{"least" if value == least else "any"}" cx="{axis.percent(value)}" cy="50%" r="5"/>'
        for value in sorted(values, reverse=True)
    )
    return f"{_open(title, description)}{_grid(axis)}{dots}</svg>"


def data_bar(axis: Axis, value: float, low: float, high: float, base: float | None) -> str:
    """A bar with its interval, and a hollow dot for the base model; the cell says the same in figures."""
    dot = "" if base is None else f'<circle cx="{axis.percent(base)}" cy="5" r="3"/>'
    return (
        '<svg class="bar" width="100%" height="10" aria-hidden="true">'
        '<rect class="track" width="100%" height="4" y="3" rx="2"/>'
        f'<rect class="fill" width="{axis.percent(value)}" height="4" y="3" rx="2"/>'
        f'<line x1="{axis.percent(low)}" x2="{axis.percent(high)}" y1="5" y2="5"/>{dot}</svg>'
    )


def _open(title: str, description: str) -> str:
    return (
        f'<svg class="row" width="100%" height="100%" role="img"><title>{plain(title)}</title>'
        f"<desc>{plain(description)}</desc>"
    )


def _grid(axis: Axis) -> str:
    return "".join(
        f'<line class="{"zero" if tick == 0 else "grid"}" x1="{axis.percent(tick)}" x2="{axis.percent(tick)}"'
        ' y1="0" y2="100%"/>'
        for tick in axis.ticks
    )


def _interval(axis: Axis, low: float, high: float) -> str:
    """A line with caps, which are drawn as boxes around points since a path takes no per cent."""
    left, right = axis.percent(low), axis.percent(high)
    caps = "".join(
        f'<svg class="cap" x="{at}" y="50%" overflow="visible"><path d="M0-5V5"/></svg>' for at in (left, right)
    )
    return f'<line class="interval" x1="{left}" x2="{right}" y1="50%" y2="50%"/>{caps}'


def _anchor(number: int, count: int) -> str:
    return "first" if number == 0 else "last" if number == count - 1 else "tick"
