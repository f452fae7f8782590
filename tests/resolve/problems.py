"""Small random problems: up to 5 patches of up to 4 versions, with everything that a resolution knows."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.registry.index import ReleaseEntry
from patchpm.resolve.problem import RootRequirement, Target
from tests.resolve.shelf import Shelf, asked, named, release, target

_NAMES = ["a", "b", "c", "d", "e"]
_VERSIONS = ["1.0.0", "1.1.0", "2.0.0-rc.1", "2.0.0"]
_RANGES = ["*", "1", "1.0", "^1.1", ">=1.1", "<2", "2", ">=2.0.0-rc.1", "1.0.0 || 2.0.0", ">1.0 <2"]
_MODELS = ["tiny", "llama"]


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


def _wishes(names: list[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(names), st.sampled_from(_RANGES), max_size=2)


@st.composite
def problems(draw: st.DrawFn, *, lock: bool = False) -> Problem:
    """Draw a problem; names that are required and exist nowhere are among them."""
    names = _NAMES[: draw(st.integers(1, 5))]
    targets = draw(st.sampled_from([("tiny",), ("tiny",), ("llama",), ("tiny", "llama")]))
    entries = []
    for name in names:
        for version in draw(st.lists(st.sampled_from(_VERSIONS), unique=True, max_size=4)):
            models = draw(st.sampled_from([_MODELS, _MODELS, _MODELS, ["tiny"], ["llama"]]))
            same = draw(st.booleans())
            wishes = draw(st.tuples(_wishes([*names, "e"]), _wishes(names)))
            yanked = draw(st.sampled_from([None, None, None, "broken"]))
            for model in models:
                requires, conflicts = wishes if same else draw(st.tuples(_wishes([*names, "e"]), _wishes(names)))
                entries.append(release(f"{name}@{version}", requires, conflicts, model=model, yanked=yanked))
    wanted = st.builds("{}@{}".format, st.sampled_from(names), st.sampled_from(["*", "*", *_RANGES]))
    roots = asked(*draw(st.lists(wanted, min_size=1, max_size=4)))
    pins = st.dictionaries(st.sampled_from(names), st.sampled_from(_VERSIONS))
    locked = {named(name): Version.parse(version) for name, version in draw(pins).items()} if lock else {}
    return Problem(tuple(entries), tuple(roots), tuple(map(target, targets)), locked)
