"""Whom targets delegates to after a change: in one list for few vendors, in bins for many."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime

from tuf.api.metadata import Targets

from patchpm.registry.edit import Bench
from patchpm.registry.roles import bins_targets_of, targets_of
from patchpm.trust.policy import KeySet
from patchpm.trust.tuf_bins import Bin, all_bins
from patchpm.trust.tuf_metadata import TARGETS, Document
from patchpm.trust.tuf_state import TrustedState, vendors_in

_NOBODY: Mapping[str, KeySet] = {}


def delegations(
    state: TrustedState,
    bench: Bench,
    keys: KeySet,
    *,
    bits: int | None = None,
    added: Mapping[str, KeySet] = _NOBODY,
    due: Callable[[datetime], bool] | None = None,
) -> dict[str, Document[Targets]]:
    """Sign the lists of vendors anew, by role: all of them, or those with new vendors or past their time.

    Args:
        state: The registry before, with all of its bins.
        bench: Must hold `keys`.
        keys: Of targets.
        bits: How many bits the bins are made by from now on; None for no change.
        added: New vendors; the lists in which they stand are signed in any case.
        due: Tells by when it expires whether a list must be signed; None for all lists.

    Raises:
        UsageError: `missing-key`.
    """
    bits = state.bits if bits is None else bits
    expires = bench.now + bench.lifetimes.targets
    made: dict[str, Document[Targets]] = {}
    assert state.targets is not None  # load_state has fed it
    if added or due is None or due(state.targets.signed.expires):
        version = state.versions.targets + 1
        if bits:
            head = bins_targets_of(keys, bits, version, expires)
        else:
            head = targets_of(_vendors(state, [*state.vendors(), *added], added), version, expires)
        made[TARGETS] = bench.sign(head, [keys], f"{version}.targets.json")
    for place, vendors, version in _bins(state, bits, added, due):
        content = targets_of(_vendors(state, vendors, added), version, expires, place)
        made[place.targets] = bench.sign(content, [keys], f"{version}.{place.targets}.json")
    return made


def _bins(
    state: TrustedState, bits: int, added: Mapping[str, KeySet], due: Callable[[datetime], bool] | None
) -> Iterator[tuple[Bin, list[str], int]]:
    """The bins whose lists are to be signed: each with its vendors and its next version."""
    if bits != state.bits:
        members: dict[Bin, list[str]] = {place: [] for place in all_bins(bits)}
        for vendor in {*state.vendors(), *added}:
            members[Bin.of(vendor, bits)].append(vendor)
        for place, found in members.items():
            yield place, found, 1
    elif state.bins is not None:
        for place in state.bins.all():
            old = state.bins.delegations(place)
            new = [vendor for vendor in added if place.holds(vendor)]
            if new or due is None or due(old.signed.expires):
                yield place, [*vendors_in(old), *new], old.version + 1


def _vendors(state: TrustedState, vendors: Collection[str], added: Mapping[str, KeySet]) -> dict[str, KeySet]:
    known = {vendor: state.vendor_keys(vendor) for vendor in vendors if vendor not in added}
    return {**known, **{vendor: keys for vendor, keys in added.items() if vendor in vendors}}
