from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpm.errors import ResolutionError
from patchpm.patch.manifest import Compose
from patchpm.registry.index import ReleaseEntry
from patchpm.resolve.order import compose_order, order_fault
from tests.builders import manifest
from tests.resolve.shelf import named, release

_NAMES = ["a", "b", "c", "d", "e"]
_WISHES = st.dictionaries(
    st.sampled_from(_NAMES),
    st.tuples(st.sets(st.sampled_from([*_NAMES, "ghost"]), max_size=2), st.sets(st.sampled_from(_NAMES), max_size=1)),
)


def test_ties_go_by_name() -> None:
    assert _names(compose_order(map(_plain, "cab"))) == "abc"


def test_wishes_are_met_with_as_little_change_to_the_order_of_names_as_possible() -> None:
    members = [_plain("a"), release("b@1.0.0", after=["d"]), _plain("c"), release("d@1.0.0", before=["c"])]
    assert _names(compose_order(members)) == "adbc"


def test_a_wish_about_an_absent_patch_or_itself_counts_for_nothing() -> None:
    assert _names(compose_order([release("a@1.0.0", after=["z", "a"]), _plain("b")])) == "ab"


@given(_WISHES, st.integers())
def test_an_order_meets_every_wish_whatever_order_it_starts_from(
    wishes: dict[str, tuple[set[str], set[str]]], seed: int
) -> None:
    members = [release(f"{name}@1.0.0", before=before, after=after) for name, (before, after) in wishes.items()]
    pairs = {(name, other) for name, (before, _) in wishes.items() for other in before}
    pairs |= {(other, name) for name, (_, after) in wishes.items() for other in after}
    pairs = {(first, second) for first, second in pairs if first != second and {first, second} <= set(wishes)}
    if _has_cycle(pairs):
        with pytest.raises(ResolutionError) as caught:
            compose_order(members)
        assert caught.value.code == "order-cycle"
        return
    ordered = compose_order(members)
    place = {each.name.name: number for number, each in enumerate(ordered)}
    assert sorted(place) == sorted(wishes)
    assert all(place[first] < place[second] for first, second in pairs)
    assert order_fault(ordered) is None
    random.Random(seed).shuffle(members)
    assert compose_order(members) == ordered


def test_a_cycle_is_named_with_what_each_patch_asks_for() -> None:
    members = [
        _plain("start"),
        release("a@1.0.0", before=["b"]),
        release("b@2.1.0", before=["c"]),
        release("c@1.0.0"),
        release("a-late@1.0.0", after=["c"], before=["a"]),
    ]
    with pytest.raises(ResolutionError) as caught:
        compose_order(members)
    assert str(caught.value) == (
        "acme/a, acme/b, acme/c and acme/a-late cannot be put in an order [order-cycle]\n"
        "acme/a 1.0.0 must stand before acme/b\n"
        "acme/b 2.1.0 must stand before acme/c\n"
        "acme/a-late 1.0.0 must stand after acme/c\n"
        "acme/a-late 1.0.0 must stand before acme/a\n"
        "hint: leave out one of them, or ask for versions of them that do not contradict each other"
    )


def test_an_order_that_breaks_a_wish_is_named() -> None:
    members = [_plain("a"), release("b@1.0.0", before=["a"])]
    assert order_fault(members) == "acme/b 1.0.0 must stand before acme/a"
    assert order_fault(members[::-1]) is None


def test_manifests_are_ordered_just_like_index_entries() -> None:
    late = manifest("acme/a", compose=Compose(after=(named("b"),)))
    assert [each.name.name for each in compose_order([late, manifest("acme/b")])] == ["b", "a"]


def _plain(name: str) -> ReleaseEntry:
    return release(f"{name}@1.0.0")


def _names(members: tuple[ReleaseEntry, ...]) -> str:
    return "".join(each.name.name for each in members)


def _has_cycle(pairs: set[tuple[str, str]]) -> bool:
    while pairs:
        seconds = {second for _, second in pairs}
        rest = {(first, second) for first, second in pairs if first in seconds}
        if rest == pairs:
            return True
        pairs = rest
    return False
