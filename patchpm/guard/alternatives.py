"""The wrong sets whose answers a reference holds, so that a finding can say what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, permutations

from patchpm.guard.served import Alternative, Half, HalfStripped, LeftOut, OtherRelease, Stripped, WrongOrder
from patchpm.model.loaded import LoadedPatch, PatchSet

_MAX_ORDERS = 8


def alternatives(
    patches: PatchSet, releases: Sequence[LoadedPatch] = ()
) -> Iterator[tuple[Alternative, PatchSet | None]]:
    """Ways to miss a set, each with what is served then; None for the bare base.

    Nothing; the first and the second half of the rows; each patch left out, where there are several; all orders, of
    more than three patches at least every swap of neighbours, at most `_MAX_ORDERS` or one for each pair of neighbours;
    and each of `releases`, others of its patches, in place of the locked one.
    """
    yield Stripped(), None
    for half in Half:
        yield HalfStripped(half), _half(patches, half)
    own = patches.patches
    if len(own) > 1:
        for left_out in own:
            rest = tuple(patch for patch in own if patch is not left_out)
            yield LeftOut(left_out.name), replace(patches, patches=rest)
    for order in _orders(own):
        yield WrongOrder(tuple(patch.name for patch in order)), replace(patches, patches=order)
    for release in releases:
        instead = tuple(release if patch.name == release.name else patch for patch in own)
        yield OtherRelease(release.name, release.version), replace(patches, patches=instead)


def _half(patches: PatchSet, half: Half) -> PatchSet:
    """The rows of one half, under the patches that they come from."""
    middle = (patches.tokens + 1) // 2
    wanted = range(middle) if half is Half.FIRST else range(middle, patches.tokens)
    start, found = 0, []
    for patch in patches.patches:
        first, end = max(wanted.start - start, 0), min(wanted.stop - start, patch.tokens)
        if first < end:
            found.append(replace(patch, rows=patch.rows[first:end]))
        start += patch.tokens
    return replace(patches, patches=tuple(found))


def _orders(own: tuple[LoadedPatch, ...]) -> Iterator[tuple[LoadedPatch, ...]]:
    swaps = [(*own[:index], own[index + 1], own[index], *own[index + 2 :]) for index in range(len(own) - 1)]
    yield from swaps
    # Few patches have few orders, and many have more than anyone could measure: those in between are not looked for.
    others = (order for order in permutations(own) if order != own and order not in swaps)
    yield from islice(others, max(0, _MAX_ORDERS - len(swaps)))
