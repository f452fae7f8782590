"""Hostile text made plain: escaped for HTML, and every character shown that would be unseen or would move others."""

from __future__ import annotations

import html
import re
from itertools import groupby

from patchpm.patch.record import is_printable

_LAYOUT = "\n\t"
_SPACE = re.compile(r"[ \n\t]+")
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffe\uffff") | {
    chr(c) for c in range(0xFE00, 0xFE10)
}
"""Letters and marks that show as nothing, which `is_printable` lets pass."""


def plain(text: str) -> str:
    """Text for a label, a heading or an attribute, on one line."""
    return "".join(html.escape(run) if seen else _codes(run) for seen, run in _runs(_SPACE.sub(" ", text).strip(" ")))


def verbatim(text: str, limit: int) -> str:
    """What a person or a model wrote, with its line breaks.

    Args:
        text: Any characters at all.
        limit: Most characters that are shown; the page says how many more there are.
    """
    shown = "".join(
        html.escape(run) if seen else f'<span class="unseen">{_codes(run)}</span>' for seen, run in _runs(text[:limit])
    )
    more = len(text) - limit
    if more > 0:
        return f'{shown}<span class="unseen">… and {more:,} more characters</span>'
    return shown or '<span class="unseen">empty</span>'


def _runs(text: str) -> list[tuple[bool, str]]:
    """The text cut where characters that show meet those that do not."""
    return [(seen, "".join(run)) for seen, run in groupby(text, _shows)]


def _shows(character: str) -> bool:
    return character in _LAYOUT or (is_printable(character) and character not in _BLANK)


def _codes(run: str) -> str:
    return "".join(f"⟨U+{ord(character):04X}⟩" for character in run)
