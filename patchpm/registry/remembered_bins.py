"""The bins of a registry as a client reads them: what is remembered if it is still promised, else from the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tuf.api.metadata import Snapshot

from patchpm.errors import IntegrityError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.registry.memory import corrupt, remember_bin, remembered_bin
from patchpm.trust.tuf_binned import TrustedBins
from patchpm.trust.tuf_bins import Bin
from patchpm.trust.tuf_metadata import Document

Read = Callable[[str, int], bytes]
"""Reads a file of metadata, by its name and size."""


def take_bin(bins: TrustedBins, place: Bin, folder: Path, read: Read) -> None:
    """Feed a bin to the state, and remember it.

    Args:
        bins: Of the state.
        place: The bin.
        folder: Where this registry's state is kept.
        read: For what is not remembered.

    Raises:
        TrustError: `rollback`, or as for any metadata.
        IntegrityError: for malformed metadata, or `state-corrupt`.
    """
    if place in bins:
        return
    _take_snapshot(bins, place, folder, read)
    version, promised = bins.targets_promise(place)
    kept = remembered_bin(folder, place.targets)
    if kept is not None and fits(kept, promised):
        bins.update_targets(place, kept)
    else:
        data = read(f"{version}.{place.targets}.json", promised.size)
        bins.update_targets(place, data)
        remember_bin(folder, place.targets, data)


def fits(data: bytes, promised: FileRef) -> bool:
    """Whether these are the promised bytes."""
    return len(data) == promised.size and Digest.of(data) == promised.digest


def _take_snapshot(bins: TrustedBins, place: Bin, folder: Path, read: Read) -> None:
    version, promised = bins.snapshot_promise(place)
    kept = remembered_bin(folder, place.snapshot)
    if kept is not None and fits(kept, promised):
        bins.update_snapshot(place, kept)  # it was held against what came before it when it was taken first
        return
    earlier = _earlier(bins, place, folder)
    data = read(f"{version}.{place.snapshot}.json", promised.size)
    # Never below what was seen, for the snapshot is not: a higher version here was written by a later run, meanwhile.
    later = kept is not None and earlier[0].version > version
    bins.update_snapshot(place, data, () if later else earlier)
    if not later:
        remember_bin(folder, place.snapshot, data)


def _earlier(bins: TrustedBins, place: Bin, folder: Path) -> list[Document[Snapshot]]:
    """What is remembered of the bin, or else of all wider ones that its vendors stood in; the bin itself first."""
    found = []
    for one in (place, *place.wider()):
        data = remembered_bin(folder, one.snapshot)
        if data is None:
            continue
        try:
            found.append(bins.earlier(one, data))
        except IntegrityError as error:
            raise corrupt(folder, error, f"bins/{one.snapshot}.json") from None
    return found
