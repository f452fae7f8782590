"""How patches get on with each other: a row is an ordered set, a column a metric, a cell what is left of an effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from patchpm.evaluate.metrics import Better
from patchpm.evaluate.report.axis import Axis, axis_of
from patchpm.evaluate.report.plot import axis_row, data_bar, strip
from patchpm.evaluate.report.quantity import THIN, Quantity, number
from patchpm.evaluate.report.text import plain
from patchpm.evaluate.results import Cell, Composition, Member

_SHADES = 10
"""Steps of the colour scale, from nothing left to all of it."""
_COUNTS = ("The base model alone", "One patch", "Two patches", "Three patches", "Four patches", "Five patches")
_ARROW = '<span class="then"> → </span>'


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left of a patch's own effect in one order of several patches."""

    patch: str
    share: float
    order: tuple[str, ...]


def kept_by_patch(composition: Composition) -> dict[str, tuple[Kept, ...]]:
    """For each patch, what every set of several patches leaves of its effect, least first."""
    found: dict[str, list[Kept]] = {}
    for cell in composition.cells:
        if cell.patch and cell.kept is not None and len(cell.order) > 1:
            found.setdefault(cell.patch, []).append(Kept(cell.patch, cell.kept, cell.order))
    return {
        one.name: tuple(sorted(found[one.name], key=lambda kept: kept.share))
        for one in composition.patches
        if one.name in found
    }


def per_cent(share: float) -> str:
    """A share of an effect, in whole per cent."""
    return f"{number(100 * share, 0)}{THIN}%"


def short_names(members: Iterable[Member]) -> dict[str, str]:
    """What a patch is called inside a table: its name without the vendor, where that tells it from the others."""
    names = [one.name for one in members]
    short = [name.rsplit("/", 1)[-1] for name in names]
    return {name: tail if short.count(tail) == 1 else name for name, tail in zip(names, short, strict=True)}


def order_words(order: Sequence[str], names: Mapping[str, str]) -> str:
    """An order as one line of text: `toxicity → bias`."""
    return " → ".join(names.get(name, name) for name in order) or "base model alone"


def composition_chapter(composition: Composition | None, quantities: Mapping[str, Quantity]) -> str:
    """The chapter on patches measured together; nothing where they were not."""
    if composition is None or not composition.cells:
        return ""
    names = short_names(composition.patches)
    return (
        '<section class="chapter"><h2>Patches together</h2>'
        "<p>Patches made apart can weaken each other. Each row is one set of patches in the order in which they stand"
        " in front of the text: in <b>A → B</b>, A stands first. A coloured cell says how much of a patch's own effect"
        " is left in that set, where 100 % is what the patch does alone and 0 % is the base model.</p>"
        f"{_overview(composition, names)}{_map(composition, quantities, names)}</section>"
    )


def _overview(composition: Composition, names: Mapping[str, str]) -> str:
    """One row a patch, one dot an order: how far the order matters."""
    by_patch = kept_by_patch(composition)
    if not by_patch:
        return ""
    axis = axis_of([0.0, 1.0, *(kept.share for found in by_patch.values() for kept in found)])
    rows = "".join(_overview_row(axis, found, names) for found in by_patch.values())
    return (
        '<div class="panel"><div class="caption"><h4>What is left of each patch\'s effect</h4>'
        '<span class="way">↑ higher is better</span></div><p class="about">One dot for each order of several patches; '
        "the full dot is the worst of them.</p>"
        '<table role="table" class="chart short" aria-label="What is left of each patch\'s effect">'
        '<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">patch</th>'
        '<th role="columnheader" scope="col" class="plot">'
        f'<span class="voice">chart</span>{axis_row(axis, per_cent)}</th><th role="columnheader" scope="col">least</th>'
        '<th role="columnheader" scope="col">in the order</th></tr></thead>'
        f'<tbody role="rowgroup">{rows}</tbody></table></div>'
    )


def _overview_row(axis: Axis, found: Sequence[Kept], names: Mapping[str, str]) -> str:
    worst, name = found[0], names[found[0].patch]
    drawing = strip(
        axis,
        [kept.share for kept in found],
        f"What is left of {name}",
        "; ".join(f"{order_words(kept.order, names)}: {per_cent(kept.share)}" for kept in found),
    )
    return (
        f'<tr role="row" class="pooled"><th role="rowheader" scope="row"><span class="suite">{plain(name)}</span> '
        f'<span class="n">{len(found)} orders</span></th><td role="cell" class="plot">{drawing}</td>'
        f'<td role="cell" class="figures" data-label="least"><b>{per_cent(worst.share)}</b></td>'
        f'<td role="cell" class="change" data-label="in the order">{_chips(worst.order, names)}</td></tr>'
    )


def _map(composition: Composition, quantities: Mapping[str, Quantity], names: Mapping[str, str]) -> str:
    columns = _columns(composition, quantities)
    body = ""
    for count, group in groupby(sorted(dict.fromkeys(cell.order for cell in composition.cells), key=len), len):
        title = _COUNTS[count] if count < len(_COUNTS) else f"{count} patches"
        body += f'<tr class="count"><th colspan="{len(columns) + 1}" scope="rowgroup">{title}</th></tr>'
        for order in group:
            row = "".join(_cell(column, order) for column in columns)
            body += f'<tr><th scope="row">{_chips(order, names)}</th>{row}</tr>'
    heading = "".join(_heading(column, names) for column in columns)
    return (
        '<div class="panel"><div class="caption"><h4>Interference map</h4></div>'
        f'{_scale()}<div class="scroll" tabindex="0" role="region" aria-label="Interference map"><table class="map">'
        '<caption class="voice">Share of each patch\'s effect that is left, by order and metric</caption>'
        f'<thead><tr><th scope="col">order</th>{heading}</tr></thead><tbody>{body}</tbody></table></div></div>'
    )


@dataclass(frozen=True, slots=True)
class _Column:
    """A metric, seen from the patch that it is for: two patches may be for the same."""

    quantity: Quantity
    patch: str
    """Empty for a side effect."""
    cells: Mapping[tuple[str, ...], Cell]
    axis: Axis
    """For bars of side effects."""


def _columns(composition: Composition, quantities: Mapping[str, Quantity]) -> list[_Column]:
    found = []
    for metric in composition.metrics:
        cells = [cell for cell in composition.cells if cell.metric == metric]
        axis = axis_of([0.0, *(end for cell in cells for end in (cell.low, cell.value, cell.high))])
        for patch in [one.name for one in composition.patches if one.metric == metric] or [""]:
            # A patch's own cell of an order, or where it is not in the order any: the measured value is the same.
            seen = {cell.order: cell for cell in sorted(cells, key=lambda cell: cell.patch == patch)}
            found.append(_Column(quantities[metric], patch, seen, axis))
    return found


def _heading(column: _Column, names: Mapping[str, str]) -> str:
    role = f"effect of {plain(names[column.patch])}" if column.patch else "side effect"
    better = column.quantity.better
    sign = {Better.HIGHER: " ↑", Better.LOWER: " ↓"}.get(better, "") if better else ""
    return f'<th scope="col"><span class="role">{role}</span>{plain(column.quantity.label)}{sign}</th>'


def _cell(column: _Column, order: tuple[str, ...]) -> str:
    """One cell; what it shows depends on whether the metric is a patch's own, and the patch is in the set."""
    quantity, cell, base = column.quantity, column.cells.get(order), column.cells.get(())
    if cell is None:
        return '<td class="none">not measured</td>'
    figure = (
        f'<span class="value">{quantity.show(cell.value)}</span>'
        f'<span class="range">{quantity.interval(cell.low, cell.high)}</span>'
    )
    if not order:
        return f'<td class="base">{figure}</td>'
    if not column.patch:
        step = "" if base is None else f"<b>{quantity.change(cell.value - base.value)}</b>"
        bar = data_bar(column.axis, cell.value, cell.low, cell.high, None if base is None else base.value)
        return f'<td class="cost">{step}{figure}{bar}</td>'
    if column.patch not in order:
        return f'<td class="absent"><b>not in the set</b>{figure}</td>'
    if cell.kept is None:
        return f'<td class="none"><b>no effect alone</b>{figure}</td>'
    return f'<td class="{_shade(cell.kept)}"><b>{per_cent(cell.kept)}</b>{figure}</td>'


def _shade(share: float) -> str:
    """The class of a colour: `k0` to `k10`; less than nothing has a pattern too."""
    return "k0 reversed" if share < -0.5 / _SHADES else f"k{min(_SHADES, max(0, round(share * _SHADES)))}"


def _chips(order: Sequence[str], names: Mapping[str, str]) -> str:
    if not order:
        return '<span class="chip empty">no patch</span>'
    return _ARROW.join(f'<span class="chip">{plain(names.get(name, name))}</span>' for name in order)


def _scale() -> str:
    swatches = "".join(f'<td class="k{number}">{number * 10}</td>' for number in range(_SHADES + 1))
    return (
        '<div class="scale"><table aria-hidden="true"><tbody><tr>'
        f"<th>effect lost</th>{swatches}<th>effect kept, %</th></tr></tbody></table>"
        '<p class="legend"><span>large: share left</span><span>below: the measured value and its 95 % interval</span>'
        '<span><i class="absent"></i> patch not in the set</span>'
        "<span>side effects: difference from the base model; the bar starts at 0, the hollow dot is the base model"
        "</span></p></div>"
    )
