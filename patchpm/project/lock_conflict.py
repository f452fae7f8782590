"""A lock that git could not merge: it is not read as a lock, but what both sides pinned steers the next resolution."""

from __future__ import annotations

import re

from patchpm.errors import PatchpmError
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version


def has_conflict(text: str) -> bool:
    """Whether git left conflict markers in `text`."""
    return re.search(r"^(<{7}|={7}|>{7})( |$)", text, re.MULTILINE) is not None


def preferences(text: str) -> dict[PatchName, Version]:
    """The versions pinned in a lock that may be stale or full of conflict markers; of two pins the higher one.

    They steer the next resolution and are never trusted, so what cannot be read is left out.
    """
    found: dict[PatchName, Version] = {}
    for side in _sides(text):
        for block in re.findall(r"^\[\[release\]\]$(.*?)(?=^\[|\Z)", side, re.MULTILINE | re.DOTALL):
            name = re.search(r'^name = "([^"]*)"$', block, re.MULTILINE)
            version = re.search(r'^version = "([^"]*)"$', block, re.MULTILINE)
            if name is None or version is None:
                continue
            try:
                pin = (PatchName.parse(name[1]), Version.parse(version[1]))
            except PatchpmError:
                continue
            found[pin[0]] = max(pin[1], found.get(*pin))
    return found


def _sides(text: str) -> tuple[str, str]:
    """The text as either side of a merge has it; twice the same without conflict markers."""
    sides: tuple[list[str], list[str]] = ([], [])
    within: int | None = None
    for line in text.splitlines(keepends=True):
        if line.startswith("<<<<<<<"):
            within = 0
        elif line.startswith("|||||||") and within == 0:
            within = -1
        elif line.startswith("=======") and within is not None:
            within = 1
        elif line.startswith(">>>>>>>") and within is not None:
            within = None
        else:
            for number, side in enumerate(sides):
                if within in (None, number):
                    side.append(line)
    return "".join(sides[0]), "".join(sides[1])
