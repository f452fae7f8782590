"""Before and after: one panel a metric with an axis of its own, since figures of different units share none.

A panel is a table one column of which is the chart, so whoever cannot see the chart misses no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from patchpm.evaluate.metrics import Better, Unit
from patchpm.evaluate.report.axis import Axis, axis_of
from patchpm.evaluate.report.judgement import Finding
from patchpm.evaluate.report.plot import arrow, axis_row, dumbbell, tone
from patchpm.evaluate.report.quantity import THIN, number, signed
from patchpm.evaluate.report.text import plain

_WAYS = {
    Better.HIGHER: "↑ higher is better",
    Better.LOWER: "↓ lower is better",
    Better.SAME: "= as before is better",
    Better.FIFTY: "50 is best",
}
_RELATIVE = {Unit.RATIO, Unit.TOKENS}
"""Units whose changes are also given in per cent of the figure before."""
_LEGEND = """<p class="legend">
<span><svg width="14" height="14" aria-hidden="true"><circle class="before" cx="7" cy="7" r="4.5"/></svg>
without the patch</span>
<span><svg width="14" height="14" aria-hidden="true"><circle class="after" cx="7" cy="7" r="5.5"/></svg> with it</span>
<span><svg width="30" height="14" aria-hidden="true"><path class="whisker" d="M1 7H29M1 3v8M29 3v8"/></svg>
95 % interval of the figure with it</span>
<span class="good"><i></i> better</span> <span class="bad"><i></i> worse</span>
<span class="calm"><i></i> no clear change, or neither</span></p>"""


def panels(findings: Sequence[Finding]) -> str:
    """The section of all before-and-after charts.

    Args:
        findings: Those of a metric next to each other, in the order of the page.
    """
    if not findings:
        return ""
    parts = []
    for section, members in groupby(findings, lambda one: one.quantity.section):
        drawn = "".join(_panel(list(same)) for _, same in groupby(members, lambda one: one.claim.metric))
        parts.append(f'<section><h3 class="domain">{plain(_capital(section))}</h3>{drawn}</section>')
    return (
        '<section class="chapter"><h2>Without and with the patch</h2>'
        "<p>Each row is one held-out set: the same items, with and without the patch. Better or worse is judged by the"
        f" interval of the change.</p>{_LEGEND}{''.join(parts)}</section>"
    )


def _panel(findings: Sequence[Finding]) -> str:
    quantity = findings[0].quantity
    claims = [one.claim for one in findings]
    axis = axis_of(
        (value for claim in claims for value in (claim.before, claim.after, claim.low, claim.high)),
        bounds=quantity.bounds,
    )
    rows = "".join(_row(axis, one) for one in findings)
    heading = (
        f'<th role="columnheader" scope="col">held-out set</th><th role="columnheader" scope="col" class="plot">'
        f'<span class="voice">chart</span>{axis_row(axis, lambda tick: quantity.mark(axis, tick))}</th>'
        '<th role="columnheader" scope="col">without <span class="to">→</span> with</th>'
        '<th role="columnheader" scope="col">95 % interval</th><th role="columnheader" scope="col">change</th>'
    )
    way = _WAYS[quantity.better] if quantity.better else "no better way is known"
    note = "" if axis.from_zero else " The axis does not start at 0."
    return (
        f'<div class="panel"><div class="caption"><h4>{plain(quantity.label)}</h4>'
        f'<span class="way">{quantity.scale} · {way}</span></div>'
        f'<p class="about">{plain(quantity.says)}.{note}</p>'
        f'<table role="table" class="chart" aria-label="{plain(quantity.label)}"><thead role="rowgroup">'
        f'<tr role="row">{heading}</tr></thead><tbody role="rowgroup">{rows}</tbody></table></div>'
    )


def _row(axis: Axis, finding: Finding) -> str:
    claim, quantity = finding.claim, finding.quantity
    figures = f"{quantity.show(claim.before)} without, {quantity.show(claim.after)} with the patch"
    interval = quantity.interval(claim.low, claim.high)
    drawing = dumbbell(axis, finding, f"{quantity.label}, {claim.suite}", f"{figures}, 95 % interval {interval}")
    return (
        f'<tr role="row" class="{"pooled" if finding.pooled else "part"}"><th role="rowheader" scope="row">'
        f'<span class="suite">{plain(claim.suite)}</span> '
        f'<span class="n">n = {claim.n:,} {plain(quantity.counted)}</span></th>'
        f'<td role="cell" class="plot">{drawing}</td><td role="cell" class="figures" data-label="without → with">'
        f'<span>{quantity.show(claim.before)}</span> <span class="to">→</span> <b>{quantity.show(claim.after)}</b></td>'
        f'<td role="cell" class="range" data-label="95 % interval">{interval}</td>'
        f'<td role="cell" class="change" data-label="change">{change_words(finding)}</td></tr>'
    )


def change_words(finding: Finding) -> str:
    """Verdict, difference and interval of the difference, in words that need no colour."""
    quantity, change = finding.quantity, finding.change
    difference = quantity.change(finding.moved) + _relative(finding)
    interval = (
        "" if change is None else f'<span class="range">{quantity.change_interval(change.low, change.high)}</span>'
    )
    return (
        f'<span class="verdict {tone(finding.verdict)}">{arrow(finding)}{finding.verdict.value}</span>'
        f'<span class="difference">{difference}</span> {interval}'
    )


def _relative(finding: Finding) -> str:
    if finding.quantity.unit not in _RELATIVE or finding.claim.before <= 0:
        return ""
    return f" ({signed(number(100 * finding.moved / finding.claim.before, 1))}{THIN}%)"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
