"""Whether two prompts are the same for the purpose of measuring: equal after normalising, or nearly so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

_WORD = re.compile(r"\w+")
THRESHOLD = 0.7
"""Share of words in common (Jaccard) from which two prompts count as near duplicates."""


def normalised(text: str) -> str:
    """The words of a text in lower case, without punctuation."""
    return " ".join(_WORD.findall(text.lower()))


class NearDuplicates:
    """Prompts to stay away from: `prompt in near` is true for any of them and for anything much like one of them."""

    def __init__(self, prompts: Iterable[str]) -> None:
        self._words = [frozenset(normalised(prompt).split()) for prompt in prompts]
        self._having: dict[str, list[int]] = defaultdict(list)
        for number, words in enumerate(self._words):
            for word in words:
                self._having[word].append(number)
        self._wordless = frozenset() in self._words

    def __contains__(self, prompt: object) -> bool:
        words = frozenset(normalised(str(prompt)).split())
        if not words:
            return self._wordless
        common: dict[int, int] = defaultdict(int)
        for word in words:
            for number in self._having.get(word, ()):
                common[number] += 1
        return any(
            shared >= THRESHOLD * (len(words) + len(self._words[number]) - shared) for number, shared in common.items()
        )
