"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

GENERATED = "<!-- Written by docs/make_reference.py. Do not edit it: run `make docs`. -->\n"
"""First line of every generated page."""


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a cell may hold anything but a line break."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def code(text: str) -> str:
    """Text in code type."""
    return f"`{text}`" if text else ""


def fenced(text: str, kind: str = "text") -> str:
    """A block of preformatted text."""
    return f"```{kind}\n{text.rstrip()}\n```\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
