"""What an effect costs: variants of a patch as points, with the front that none of the others beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from patchpm.evaluate.metrics import Better
from patchpm.evaluate.report.axis import Axis, axis_of
from patchpm.evaluate.report.quantity import Quantity
from patchpm.evaluate.report.text import plain

_WIDTH, _HEIGHT = 680, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 40, 56
_LABEL = 13
"""Size of the variants' names."""
_LONGEST = 32
"""Letters of a name that are drawn; the table has the whole."""
_LETTER = 0.56
"""Width of a letter, in sizes of the text; near enough to place names."""
STYLE = (
    ".trade-off .grid{stroke:var(--grid)}"
    ".trade-off .front{fill:none;stroke:var(--good);stroke-width:1.6;stroke-dasharray:5 4}"
    ".trade-off .span{stroke:var(--soft);stroke-width:1.2}"
    ".trade-off .best{fill:var(--good)}"
    ".trade-off .beaten{fill:var(--paper);stroke:var(--soft);stroke-width:2}"
    ".trade-off text{font:13px system-ui,sans-serif;fill:var(--ink)}"
    ".trade-off .soft{fill:var(--soft)}"
)
"""Rules for a page that has drawings in it, and its own colours."""
_COLOURS = (
    "svg{--ink:#16191d;--soft:#57606a;--grid:#e6e9ed;--good:#0b62a8;--paper:#fff}"
    "@media (prefers-color-scheme:dark)"
    "{svg{--ink:#e8eaed;--soft:#a0a9b3;--grid:#292f36;--good:#6cb6f5;--paper:#14171a}}"
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to make a patch, by what it does and what it costs; with 95 % intervals."""

    name: str
    effect: float
    effect_low: float
    effect_high: float
    cost: float
    cost_low: float
    cost_high: float


def front_of(variants: Sequence[Variant], effect: Quantity, cost: Quantity) -> tuple[Variant, ...]:
    """The variants that no other beats in both figures at once, cheapest first.

    Args:
        variants: All of them.
        effect: What `Variant.effect` is.
        cost: What `Variant.cost` is.

    Raises:
        ValueError: For a quantity of which nobody can say which way is better.
    """

    def gain(one: Variant) -> tuple[float, float]:
        return _gain(effect, one.effect), _gain(cost, one.cost)

    def beaten(one: Variant) -> bool:
        mine = gain(one)
        return any(
            theirs != mine and theirs[0] >= mine[0] and theirs[1] >= mine[1]
            for theirs in (gain(other) for other in variants)
        )

    return tuple(sorted((one for one in variants if not beaten(one)), key=lambda one: (-gain(one)[1], gain(one)[0])))


def trade_off(variants: Sequence[Variant], effect: Quantity, cost: Quantity) -> str:
    """A drawing of the variants as an SVG element, for a page with `STYLE`; cost to the right, effect upwards.

    Args:
        variants: At least one.
        effect: What `Variant.effect` is.
        cost: What `Variant.cost` is.
    """
    return _drawing(variants, effect, cost, "")


def trade_off_file(variants: Sequence[Variant], effect: Quantity, cost: Quantity) -> str:
    """The same as an SVG file that needs no page."""
    return _drawing(variants, effect, cost, f"<style>{_COLOURS}{STYLE}</style>") + "\n"


def trade_off_table(variants: Sequence[Variant], effect: Quantity, cost: Quantity) -> str:
    """The same figures as an HTML table, to stand beside the picture."""
    rows = "".join(
        f'<tr><th scope="row">{plain(one.name)}</th>'
        f"<td>{effect.show(one.effect)}"
        f' <span class="range">({effect.interval(one.effect_low, one.effect_high)})</span></td>'
        f"<td>{cost.show(one.cost)}"
        f' <span class="range">({cost.interval(one.cost_low, one.cost_high)})</span></td></tr>'
        for one in variants
    )
    return (
        f'<table aria-label="{plain(effect.label)} against {plain(cost.label)}">'
        f'<thead><tr><th scope="col">prefix</th><th scope="col">{plain(effect.label)} (95 % interval)</th>'
        f'<th scope="col">{plain(cost.label)} (95 % interval)</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _drawing(variants: Sequence[Variant], effect: Quantity, cost: Quantity, style: str) -> str:
    across = axis_of((end for one in variants for end in (one.cost_low, one.cost, one.cost_high)), bounds=cost.bounds)
    upward = axis_of(
        (end for one in variants for end in (one.effect_low, one.effect, one.effect_high)), bounds=effect.bounds
    )
    best = front_of(variants, effect, cost)
    title = f"{effect.label} against {cost.label.lower()}"
    told = "; ".join(f"{one.name}: {effect.show(one.effect)}, {cost.show(one.cost)}" for one in variants)
    start = f"{_x(across, best[0].cost)} {_y(upward, best[0].effect)}"
    steps = "".join(f"H{_x(across, one.cost)}V{_y(upward, one.effect)}" for one in best)
    points = "".join(_point(across, upward, one, best=one in best) for one in variants)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="trade-off" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{plain(title)}</title><desc>{plain(told)}</desc>{style}"
        f'{_across(across, cost)}{_upward(upward, effect)}<path class="front" d="M{start}{steps}"/>'
        f"{points}{_names(across, upward, variants)}</svg>"
    )


def _gain(quantity: Quantity, value: float) -> float:
    """The value as a number of which more is better."""
    match quantity.better:
        case Better.HIGHER:
            return value
        case Better.LOWER:
            return -value
        case Better.FIFTY:
            return -abs(value - 50)
        case _:
            raise ValueError(f"nobody can say which way of {quantity.name} is better")


def _x(axis: Axis, value: float) -> str:
    return f"{_LEFT + axis.share(value) * (_WIDTH - _LEFT - _RIGHT):.1f}"


def _y(axis: Axis, value: float) -> str:
    return f"{_HEIGHT - _BOTTOM - axis.share(value) * (_HEIGHT - _TOP - _BOTTOM):.1f}"


def _across(axis: Axis, cost: Quantity) -> str:
    low = _HEIGHT - _BOTTOM
    marks = "".join(
        f'<path class="grid" d="M{_x(axis, tick)} {_TOP}V{low}"/><text class="soft" text-anchor="middle"'
        f' x="{_x(axis, tick)}" y="{low + 20}">{cost.mark(axis, tick)}</text>'
        for tick in axis.ticks
    )
    way = {"lower": "← better", "higher": "better →"}.get(cost.better or "", "")
    return f'{marks}<text x="{_LEFT}" y="{_HEIGHT - 10}">{plain(cost.label)} ({cost.scale}) {way}</text>'


def _upward(axis: Axis, effect: Quantity) -> str:
    marks = "".join(
        f'<path class="grid" d="M{_LEFT} {_y(axis, tick)}H{_WIDTH - _RIGHT}"/><text class="soft" text-anchor="end"'
        f' x="{_LEFT - 8}" y="{float(_y(axis, tick)) + 4.5:.1f}">{effect.mark(axis, tick)}</text>'
        for tick in axis.ticks
    )
    way = {"lower": "↓ better", "higher": "↑ better"}.get(effect.better or "", "")
    return f'{marks}<text x="4" y="14">{plain(effect.label)} ({effect.scale}) {way}</text>'


def _point(across: Axis, upward: Axis, one: Variant, *, best: bool) -> str:
    x, y = _x(across, one.cost), _y(upward, one.effect)
    return (
        f'<path class="span" d="M{_x(across, one.cost_low)} {y}H{_x(across, one.cost_high)}'
        f'M{x} {_y(upward, one.effect_low)}V{_y(upward, one.effect_high)}"/>'
        f'<circle class="{"best" if best else "beaten"}" cx="{x}" cy="{y}" r="5.5"/>'
    )


def _names(across: Axis, upward: Axis, variants: Sequence[Variant]) -> str:
    """Each name beside its point, at the first place where it covers no other name and no point."""
    spots = [(float(_x(across, one.cost)), float(_y(upward, one.effect))) for one in variants]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
    drawn = ""
    for one, (x, y) in zip(variants, spots, strict=True):
        name = one.name if len(one.name) <= _LONGEST else f"{one.name[: _LONGEST - 1]}…"
        wide = len(name) * _LABEL * _LETTER
        places = [
            (x + right * 9 - (wide if right < 0 else 0), y + down)
            for down in (-8, 17, -24, 33, -40, 49)
            for right in (1, -1)
        ]
        boxes = [(left, base - _LABEL, left + wide, base + 3) for left, base in places]
        free = next((box for box in boxes if _fits(box) and not any(_meet(box, other) for other in taken)), boxes[0])
        taken.append(free)
        drawn += f'<text x="{free[0]:.1f}" y="{free[3] - 3:.1f}">{plain(name)}</text>'
    return drawn


def _fits(box: tuple[float, float, float, float]) -> bool:
    return box[0] >= _LEFT and box[2] <= _WIDTH and box[1] >= _TOP and box[3] <= math.floor(_HEIGHT - _BOTTOM)


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
