"""Version ranges as npm has them: `1.2`, `1.2.x`, `^1.2.3`, `~1.2`, `>=1.2 <2`, `1.2 - 1.4`, and `||` between them.

A range is read into alternatives, each a conjunction of comparators over plain precedence. Pre-releases follow npm's
rule: one is contained only where a comparator of the same alternative names a pre-release of the same three numbers.

Stricter than npm: no empty alternative, no doubled operators, no text after an `x`. Wider: a comma is "and" as well.

Source: https://github.com/npm/node-semver, "Ranges", which also is the oracle of the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from patchpm.errors import UsageError
from patchpm.patch.version import FINAL, LOWEST, MAX_DIGITS, Precedence, Version

MAX_LENGTH = 256
"""Longest range in characters."""

_Comparator = tuple[str, Precedence]
"""`<`, `<=`, `=`, `>=` or `>`, and what a version is compared with."""
_Alternative = tuple[_Comparator, ...]
"""All must hold; an empty one contains everything."""

_NOTHING: _Comparator = ("<", (0, 0, 0, LOWEST))
_EVERYTHING: _Comparator = (">=", (0, 0, 0, FINAL))
_PART = rf"(?:0|[1-9]\d{{0,{MAX_DIGITS - 1}}}|[xX*])"
_WORDS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_PARTIAL = rf"v?{_PART}(?:\.{_PART}(?:\.{_PART}(?:-{_WORDS})?(?:\+{_WORDS})?)?)?"
_SIMPLE = re.compile(
    rf"(?P<operator>\^|~>?|[<>]=?|=)?v?(?P<numbers>{_PART}(?:\.{_PART}){{0,2}})"
    rf"(?:-(?P<prerelease>{_WORDS}))?(?P<build>\+{_WORDS})?",
    re.ASCII,
)
_HYPHEN = re.compile(rf"({_PARTIAL}) +- +({_PARTIAL})", re.ASCII)
_OPERATOR_GAP = re.compile(r"([<>=~^]) +")
_AND = re.compile(r" *, *| +")
_NUMBERS = 3


@dataclass(frozen=True, slots=True)
class Range:
    """A set of versions, equal to another one when both are written the same but for white space, `v` and commas."""

    text: str
    """The canonical text: single spaces, `x` for any part, no build metadata."""
    _alternatives: tuple[_Alternative, ...] = field(repr=False, compare=False)
    _with_prereleases: tuple[_Alternative, ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read a range.

        Raises:
            UsageError: `invalid-range`.
        """
        return _parse(text)

    def contains(self, version: Version, *, prereleases: bool = False) -> bool:
        """Whether `version` is in this range. Build metadata is ignored.

        Args:
            version: What to look for.
            prereleases: Take pre-releases by precedence alone (npm's `includePrerelease`). Then `1.2` and `^1.2` start
                at `1.2.0-0`, and still end before `-0` of their upper bound.
        """
        found = version.precedence
        if found[3] != FINAL and not prereleases:
            return any(_names_prerelease(each, found) and _holds(each, found) for each in self._alternatives)
        # Written out, since a resolution asks this some thousand times.
        for alternative in self._with_prereleases if prereleases else self._alternatives:
            if _holds(alternative, found):
                return True
        return False

    def overlaps(self, other: Range) -> bool:
        """Whether there could be a version, other than a pre-release, that is in both."""
        # The lowest version of the overlap is the lowest of all, or stands at or right after a bound.
        probes = {(0, 0, 0)}
        for alternative in self._alternatives + other._alternatives:
            for _, (major, minor, patch, _prerelease) in alternative:
                probes |= {(major, minor, patch), (major, minor, patch + 1)}
        versions = [Version((*probe, FINAL), "") for probe in probes]
        return any(self.contains(version) and other.contains(version) for version in versions)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _Simple:
    """One operator with one full or partial version."""

    operator: str
    numbers: tuple[int | None, ...]
    """Three of them; None from the first part that is missing or `x`."""
    exact: Precedence | None
    """The version itself, where all three numbers are there."""
    text: str

    def comparators(self, *, prereleases: bool) -> _Alternative:
        """Spell the operator out, with `-0` under every lower bound that is made up when `prereleases` count."""
        major, minor, _ = self.numbers
        lowest = LOWEST if prereleases else FINAL
        if major is None:
            return (_NOTHING,) if self.operator in ("<", ">") else ()
        floor = self.exact or (major, minor or 0, 0, lowest)
        if self.operator in ("^", "~"):
            return (">=", floor), ("<", (*self._ceiling(), LOWEST))
        if self.exact is not None:
            return ((self.operator or "=", self.exact),)
        above = self._above(len([number for number in self.numbers if number is not None]))
        spelt: dict[str, _Alternative] = {
            ">": ((">=", (*above, lowest)),),
            ">=": ((">=", floor),),
            "<": (("<", (*floor[:3], LOWEST)),),
            "<=": (("<", (*above, LOWEST)),),
        }
        return spelt.get(self.operator, ((">=", floor), ("<", (*above, LOWEST))))

    def _ceiling(self) -> tuple[int, int, int]:
        """The first version above what `^` and `~` allow."""
        major, minor, patch = self.numbers
        if minor is None or (self.operator == "^" and major):
            return self._above(1)
        if self.operator == "^" and minor == 0 and patch is not None:
            return self._above(3)
        return self._above(2)

    def _above(self, parts: int) -> tuple[int, int, int]:
        """The first version after all that share the first `parts` numbers."""
        kept = [number or 0 for number in self.numbers[:parts]]
        kept[-1] += 1
        major, minor, patch = (*kept, 0, 0)[:_NUMBERS]
        return major, minor, patch


@lru_cache(maxsize=8192)
def _parse(text: str) -> Range:
    if len(text) > MAX_LENGTH:
        raise _invalid(text, f"it has {len(text)} characters, and {MAX_LENGTH} are allowed")
    spaced = re.sub(r"[ \t]+", " ", text)
    plain: list[_Alternative] = []
    wide: list[_Alternative] = []
    words: list[str] = []
    for written in spaced.split("||"):
        canonical, narrow, including = _alternative(text, written.strip(" "))
        words.append(canonical)
        plain.append(narrow)
        wide.append(including)
    if () in plain:
        # npm folds a union with `*` into `*`, which forgets pre-releases that other alternatives name.
        plain = [()]
    joined = " || ".join(words)
    if len(joined) > MAX_LENGTH:
        raise _invalid(text, f"written out it has {len(joined)} characters, and {MAX_LENGTH} are allowed")
    return Range(joined, tuple(plain), tuple(wide))


def _alternative(text: str, written: str) -> tuple[str, _Alternative, _Alternative]:
    """Read what stands between two `||`: its canonical text, and its comparators without and with pre-releases."""
    hyphen = _HYPHEN.fullmatch(written)
    if hyphen is not None:
        low, high = _simple(text, ">=" + hyphen[1]), _simple(text, "<=" + hyphen[2])
        return f"{low.text[2:]} - {high.text[2:]}", _plain((low, high)), _wide_hyphen(low, high)
    simples = tuple(_simple(text, word) for word in _AND.split(_OPERATOR_GAP.sub(r"\1", written)))
    wide = tuple(comparator for simple in simples for comparator in simple.comparators(prereleases=True))
    return " ".join(simple.text for simple in simples), _plain(simples), wide


def _wide_hyphen(low: _Simple, high: _Simple) -> _Alternative:
    """With pre-releases a hyphen range takes those of its full bounds too: `1.2.3 - 1.3.0` is `>=1.2.3-0 <1.3.1-0`."""
    lower, upper = low.comparators(prereleases=True), high.comparators(prereleases=True)
    if low.exact is not None and low.exact[3] == FINAL:
        lower = ((">=", (*low.exact[:3], LOWEST)),)
    if high.exact is not None and high.exact[3] == FINAL:
        upper = (("<", (*high.exact[:2], high.exact[2] + 1, LOWEST)),)
    return lower + upper


def _plain(simples: tuple[_Simple, ...]) -> _Alternative:
    """Comparators without pre-releases; like npm, only the contradiction where there is one, and nothing for `*`."""
    comparators = tuple(comparator for simple in simples for comparator in simple.comparators(prereleases=False))
    if _NOTHING in comparators:
        return (_NOTHING,)
    return tuple(comparator for comparator in comparators if comparator != _EVERYTHING)


def _simple(text: str, word: str) -> _Simple:
    match = _SIMPLE.fullmatch(word)
    if match is None:
        raise _invalid(text, f"{word!r} is not understood" if word else "there is nothing between two separators")
    operator = "~" if match["operator"] == "~>" else match["operator"] or ""
    parts = match["numbers"].split(".")
    numbers = [None if part in ("x", "X", "*") else int(part) for part in parts]
    while len(numbers) < _NUMBERS:
        numbers.append(None)
    known = [number for number in numbers if number is not None]
    if numbers[: len(known)] != known:
        raise _invalid(text, f"in {word!r} a number stands after an x")
    exact = None
    canonical = "*" if parts[0] in ("x", "X") and len(parts) == 1 else ".".join(parts).replace("X", "x")
    if len(known) < _NUMBERS:
        if match["prerelease"] is not None or match["build"] is not None:
            raise _invalid(text, f"in {word!r} a pre-release or build stands after an incomplete version")
    else:
        canonical += f"-{match['prerelease']}" if match["prerelease"] else ""
        exact = _exact(text, canonical)
    return _Simple(operator, tuple(numbers), exact, operator + canonical)


def _exact(text: str, version: str) -> Precedence:
    try:
        return Version.parse(version).precedence
    except UsageError as error:
        raise _invalid(text, f"{version!r} is not a version: {error.why}") from None


def _holds(comparators: _Alternative, found: Precedence) -> bool:
    for operator, bound in comparators:
        if operator == ">=":
            holds = found >= bound
        elif operator == "<":
            holds = found < bound
        elif operator == "=":
            holds = found == bound
        elif operator == ">":
            holds = found > bound
        else:
            holds = found <= bound
        if not holds:
            return False
    return True


def _names_prerelease(comparators: _Alternative, found: Precedence) -> bool:
    return any(bound[:3] == found[:3] and bound[3] != FINAL for _, bound in comparators)


def _invalid(text: str, why: str) -> UsageError:
    return UsageError(
        "invalid-range",
        f"{text[:80]!r} is not a version range",
        why=why,
        next="ranges look like 1.2, 1.2.3, ^1.2, ~1.2.3, >=1.2 <2, 1.2 - 1.4, 1.2 || 2.x or *",
    )
