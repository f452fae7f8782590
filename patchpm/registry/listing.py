"""What snapshot lists after a change: flat for few vendors, in bins for many. Values only; `edit` signs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final

from tuf.api.metadata import MetaFile, Snapshot, Targets

from patchpm.registry.roles import promise_of
from patchpm.trust.tuf_bins import Bin, all_bins
from patchpm.trust.tuf_metadata import TARGETS, Document
from patchpm.trust.tuf_state import TrustedState

FULL: Final = 256
"""Vendors that one list holds on average before there are more lists: about 33 kB of promises, 92 kB of delegations."""
_STEPS: Final = (0, 6, 8, 10, 12)
"""Bits of bins. Clients read the bin they need anew after each step, so the steps are large."""
_TARGETS_FILE: Final = f"{TARGETS}.json"

Meta = Mapping[str, MetaFile]


def bits_for(vendors: int) -> int:
    """How many bits of bins a registry needs: 0 up to 256 vendors, 6 (64 bins) up to 16,384, 8 up to 65,536."""
    return next((bits for bits in _STEPS if vendors <= FULL << bits), _STEPS[-1])


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of a new snapshot, and of the bins that change with it."""

    top: Meta
    """Of the snapshot, but for the bins that change."""
    bins: Mapping[Bin, tuple[int, Meta]] = field(default_factory=dict)
    """The bins that change: the version before, or 0, and the new content."""

    def with_bins(self, made: Iterable[Document[Snapshot]]) -> dict[str, MetaFile]:
        """The content of the snapshot, once these bins are signed."""
        named = zip(self.bins, made, strict=True)
        return {**self.top, **{f"{place.snapshot}.json": promise_of(document) for place, document in named}}


def listing(
    state: TrustedState | None,
    roles: Mapping[str, Document[Targets]],
    bits: int,
    due: Set[Bin],
    *,
    everything: bool,
) -> Listing:
    """Put new roles among those that are promised already.

    Args:
        state: The registry before, with every bin that changes; None for a new one.
        roles: New `targets`, bins' parts of it, and vendors' roles.
        bits: How many bits the bins are made by.
        due: Bins that shall be listed anew although nothing in them changes.
        everything: List all bins anew.
    """
    new = {f"{role}.json": promise_of(document) for role, document in roles.items()}
    top = {} if state is None or state.snapshot is None else dict(state.snapshot.signed.meta)
    if not bits:
        return Listing(top | new)
    assert state is not None  # a new registry is flat
    if bits != state.bits:
        of_vendors = {file: promise for meta in _lists(state) for file, promise in meta.items()}
        split = _split(of_vendors | new, bits)
        return Listing({_TARGETS_FILE: new[_TARGETS_FILE]}, {place: (0, split[place]) for place in all_bins(bits)})
    assert state.bins is not None  # bits says so
    split = _split(new, bits)
    changed = {}
    for place in all_bins(bits):
        if everything or place in due or split[place]:
            old = state.bins.promises(place)
            changed[place] = (old.version, {**old.signed.meta, **split[place]})
    return Listing(top | {file: new[file] for file in new if file == _TARGETS_FILE}, changed)


def _lists(state: TrustedState) -> list[Meta]:
    """All that is said of vendors; the parts of targets in old bins are left behind by `_split`."""
    if state.bins is not None:
        return [state.bins.promises(place).signed.meta for place in state.bins.all()]
    assert state.snapshot is not None  # load_state has fed it
    return [state.snapshot.signed.meta]


def _split(meta: Meta, bits: int) -> dict[Bin, dict[str, MetaFile]]:
    found: dict[Bin, dict[str, MetaFile]] = {place: {} for place in all_bins(bits)}
    of_targets = {f"{place.targets}.json": place for place in found}
    for file, promise in meta.items():
        place = of_targets.get(file) or Bin.of(file.removesuffix(".json"), bits)
        if place.lists(file):
            found[place][file] = promise
    return found
