"""Small random problems: up to 5 patches of up to 4 versions, with everything that a resolution knows."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import strategies as st

from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.registry.index import ReleaseEntry
from patchpm.resolve.problem import RootRequirement, Target
from tests.resolve.shelf import Shelf, asked, named, release, target

_NAMES = ["a", "b", "c", "d", "e"]
_VERSIONS = ["1.0.0", "1.1.0", "2.0.0-rc.1", "2.0.0"]
_LISTS = [_VERSIONS, _VERSIONS, _VERSIONS[:2], ["1.0.0", "1.1.0", "2.0.0"], ["1.0.0", "2.0.0"], ["2.0.0-rc.1"], []]
_RANGES = ["*", "*", "*", "1", "^1.1", ">=1.1", "<2", "2", "1.0", ">=2.0.0-rc.1", "1.0.0 || 2.0.0", ">1.0 <2"]
_MODELS = [["tiny", "llama"]] * 8 + [["tiny"], ["llama"]]
_TARGETS = [["tiny"], ["tiny"], ["tiny", "llama"]]


@dataclass(frozen=True)
class Problem:
    """What `resolve` is called with."""

    entries: tuple[ReleaseEntry, ...]
    roots: tuple[RootRequirement, ...]
    targets: tuple[Target, ...]
    locked: dict[PatchName, Version]

    @property
    def shelf(self) -> Shelf:
        return Shelf(*self.entries)


def _wishes(names: list[str]) -> st.SearchStrategy[tuple[dict[str, str], dict[str, str]]]:
    requires = st.dictionaries(st.sampled_from([*names * 3, "ghost"]), st.sampled_from(_RANGES), max_size=2)
    conflicts = st.dictionaries(st.sampled_from(names), st.sampled_from(_RANGES), max_size=1)
    return st.tuples(requires, st.one_of(st.just({}), st.just({}), conflicts))


@st.composite
def problems(draw: st.DrawFn, *, lock: bool = False) -> Problem:
    """Draw a problem; a name that is required and exists nowhere is among them."""
    names = _NAMES[: draw(st.integers(2, 5))]
    entries = []
    for name in names:
        for version in draw(st.sampled_from(_LISTS)):
            yanked = draw(st.sampled_from([None] * 6 + ["broken"]))
            requires, conflicts = draw(_wishes(names))
            for model in draw(st.sampled_from(_MODELS)):
                if draw(st.sampled_from([False] * 7 + [True])):
                    requires, conflicts = draw(_wishes(names))
                entries.append(release(f"{name}@{version}", requires, conflicts, model=model, yanked=yanked))
    wanted = st.builds("{}@{}".format, st.sampled_from(names), st.sampled_from(_RANGES))
    roots = asked(*draw(st.lists(wanted, min_size=1, max_size=3)))
    pins = st.dictionaries(st.sampled_from(names), st.sampled_from(_VERSIONS))
    locked = {named(name): Version.parse(version) for name, version in draw(pins).items()} if lock else {}
    return Problem(tuple(entries), tuple(roots), tuple(map(target, draw(st.sampled_from(_TARGETS)))), locked)


def dense_problem(seed: int) -> Problem:
    """A problem in which most patches require or conflict with others: harder than what hypothesis tends to draw."""
    source = random.Random(seed)
    names = _NAMES[: source.randint(3, 5)]
    entries = []
    for name in names:
        others = [other for other in names if other != name]
        for version in source.choice(_LISTS[:5]):
            requires = {source.choice(others): source.choice(_RANGES) for _ in range(source.choice([0, 0, 1, 1, 2]))}
            conflicts = {source.choice(others): source.choice(_RANGES[3:]) for _ in range(source.choice([0, 0, 1]))}
            entries.append(
                release(f"{name}@{version}", requires, conflicts, yanked=source.choice([None] * 9 + ["old"]))
            )
    picked = source.sample(names, source.randint(1, 3))
    roots = asked(*(f"{name}@{source.choice(_RANGES[:6])}" for name in picked))
    return Problem(tuple(entries), tuple(roots), (target("tiny"),), {})
