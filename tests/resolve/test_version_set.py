from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from patchpm.resolve.version_set import VersionSet

_UNIVERSE = range(12)
_MASKS = st.integers(-(2**10), 2**10)


def _members(versions: VersionSet) -> set[int]:
    return {index for index in _UNIVERSE if index in versions}


@given(_MASKS, _MASKS)
def test_the_operations_are_those_of_sets(left_mask: int, right_mask: int) -> None:
    left, right = VersionSet(left_mask), VersionSet(right_mask)
    one, other = _members(left), _members(right)
    assert _members(left & right) == one & other
    assert _members(left | right) == one | other
    assert _members(left - right) == one - other
    assert _members(~left) == set(_UNIVERSE) - one
    assert left.is_subset(right) == right.is_superset(left) == one.issubset(other)
    assert left.is_disjoint(right) == one.isdisjoint(other)
    assert (left == right) == (one == other)
    assert left.is_empty == (not one)
    relation = left.relation(right)
    assert (relation.is_subset, relation.is_disjoint) == (left.is_subset(right), left.is_disjoint(right))
    # What the search needs to end, see RangeProtocol of nab-resolver.
    assert left.is_subset((left - right) | right)


def test_the_named_sets() -> None:
    assert VersionSet.empty().is_empty
    assert _members(VersionSet.full()) == set(_UNIVERSE)
    assert ~VersionSet.empty() == VersionSet.full()
    assert _members(VersionSet.singleton(3)) == {3}
    assert hash(VersionSet(5)) == hash(VersionSet(5))
    assert VersionSet(5) != 5
