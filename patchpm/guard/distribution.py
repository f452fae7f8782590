"""The likeliest first tokens of an answer, and how far two such lists are from each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

TOP: Final = 20
"""Most tokens of a list: what servers give at most."""
_BROKEN: Final = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Distribution:
    """First tokens as texts, each with its log-probability, the likeliest first.

    Texts and not ids, since servers give texts. Parts of a character, which each server writes in its own way, are left
    out, and two tokens of the same text count as one.
    """

    tokens: tuple[tuple[str, float], ...]
    """Text and natural log-probability; at most `TOP`."""

    @classmethod
    def of(cls, tokens: Iterable[tuple[str, float]]) -> Distribution:
        """Make it of tokens in any order."""
        found: dict[str, float] = {}
        for text, value in tokens:
            if is_whole(text):
                found[text] = value if text not in found else _either(found[text], value)
        return cls(likeliest_first((text, round(value, 4)) for text, value in found.items())[:TOP])

    def distance(self, other: Distribution) -> float:
        """How far `other` is: the mean difference of log-probability, over what either holds among its likeliest.

        A token weighs as much as the square root of its probability, the mean of both. All alike would give most of the
        weight to unlikely tokens, where other arithmetics differ most; their probability itself would leave one or two.

        1. Both lists are cut to the length of the shorter, and brought to a sum of 1. Nearly all of the probability is
           in them, but for engines that count tokens which they suppress: in llama.cpp those of a prefix take part, and
           leave a millionth to all others.
        2. A token that one of them lacks is taken to be as likely there as its last one, which it can be at most.
        """
        length = min(len(self.tokens), len(other.tokens))
        if not length:
            return 0.0
        mine, theirs = _normal(self.tokens[:length]), _normal(other.tokens[:length])
        floors = min(mine.values()), min(theirs.values())
        pairs = [(mine.get(text, floors[0]), theirs.get(text, floors[1])) for text in mine.keys() | theirs.keys()]
        return fmean(
            (abs(one - two) for one, two in pairs),
            weights=[math.sqrt(math.exp(one) + math.exp(two)) for one, two in pairs],
        )


def is_whole(text: str) -> bool:
    """Whether the text of a token counts: it is not empty, and holds no part of a character."""
    return bool(text) and _BROKEN not in text


def likeliest_first(tokens: Iterable[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """The one order of tokens: the likeliest first, and of equally likely ones by text."""
    return tuple(sorted(tokens, key=lambda item: (-item[1], item[0])))


def _normal(tokens: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The tokens as if there were no others."""
    highest = max(value for _, value in tokens)
    whole = highest + math.log(sum(math.exp(value - highest) for _, value in tokens))
    return {text: value - whole for text, value in tokens}


def _either(one: float, other: float) -> float:
    """Log-probability that one of two tokens comes."""
    high, low = max(one, other), min(one, other)
    return min(0.0, high + math.log1p(math.exp(low - high)))
