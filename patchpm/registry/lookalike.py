"""Vendor names that a person would take for one another.

The grammar of names leaves only ASCII, so there are no homoglyphs of other scripts. What is left is caught here, when a
vendor is registered: `acrne` for `acme`, `acm3`, `amce`, `hacker-bank` for `hackerbank`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

RESERVED: Final = frozenset({"admin", "builtin", "official", "patchpm", "registry", "security", "support", "system"})
"""Names that would look like the product itself."""
_TWO_TO_ONE: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_LETTERS: Final = str.maketrans("0134578i", "oleastbl")
_LONG: Final = 9
"""From this length on two typing errors are still a likeness."""


def lookalike(vendor: str, known: Iterable[str]) -> str | None:
    """The name among `known` that `vendor` could be taken for, or None. A name is no likeness of itself."""
    skeleton = _skeleton(vendor)
    for other in sorted(known):
        if other == vendor:
            continue
        allowed = 2 if min(len(vendor), len(other)) >= _LONG else 1
        if skeleton == _skeleton(other) or (
            min(len(vendor), len(other)) > 3 and _distance_at_most(vendor, other, allowed)
        ):
            return other
    return None


def _skeleton(name: str) -> str:
    flat = name.replace("-", "").translate(_LETTERS)
    for two, one in _TWO_TO_ONE:
        flat = flat.replace(two, one)
    return flat


def _distance_at_most(first: str, second: str, limit: int) -> bool:
    # Optimal string alignment: insert, delete, replace, or swap two neighbours, each at the cost of one.
    if abs(len(first) - len(second)) > limit:
        return False
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, start=1):
        after = [i]
        for j, other in enumerate(second, start=1):
            cost = min(row[j] + 1, after[j - 1] + 1, row[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and other == first[i - 2]:
                cost = min(cost, before[j - 2] + 1)
            after.append(cost)
        if min(after) > limit:
            return False
        before, row = row, after
    return row[-1] <= limit
