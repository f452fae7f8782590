"""A registry as its operator reads it: from its first root on, and also as it will be after a change."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from patchpm.errors import CannotError, IntegrityError
from patchpm.patch.digest import Digest
from patchpm.registry.host import Host, Readable
from patchpm.trust.tuf_binned import TrustedBins
from patchpm.trust.tuf_bins import Bin
from patchpm.trust.tuf_metadata import MAX_BYTES, ROOT, TIMESTAMP
from patchpm.trust.tuf_state import TrustedState, VendorRole

ANY_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A clock under which nothing has expired: whoever renews metadata must be able to read what has."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """A host as it will be after a commit."""

    host: Host
    changes: Mapping[str, bytes]

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """The file that a reader will find."""
        return self.changes[path] if path in self.changes else self.host.read(path, max_bytes)


def load_state(host: Readable, now: datetime) -> TrustedState:
    """Read a registry from its first root on, as its operator, who pins nothing. Bins are read by `load_bins`.

    Raises:
        CannotError: `no-registry`.
        TrustError, IntegrityError: as for any client.
    """
    root = host.read("metadata/1.root.json", MAX_BYTES[ROOT])
    if root is None:
        raise CannotError(
            "no-registry",
            "there is no registry here",
            next="make one with `patchpm registry init`, or check the address",
        )
    state = TrustedState(root, Digest.of(root), now)
    while (root := host.read(f"metadata/{state.root.version + 1}.root.json", MAX_BYTES[ROOT])) is not None:
        state.update_root(root)
    state.update_timestamp(_read(host, "timestamp.json", MAX_BYTES[TIMESTAMP]))
    version, promised = state.snapshot_promise()
    state.update_snapshot(_read(host, f"{version}.snapshot.json", promised.size))
    version, promised = state.targets_promise()
    state.update_targets(_read(host, f"{version}.targets.json", promised.size))
    return state


def load_bin(host: Readable, state: TrustedState, vendor: str) -> None:
    """Read what the registry says of a vendor, where that is not in the state already."""
    if state.bins is not None:
        _load_bin(host, state.bins, state.bins.of(vendor))


def load_bins(host: Readable, state: TrustedState, only: Container[str] | None = None) -> None:
    """Read what the registry says of all vendors, where that is not in the state already.

    Args:
        host: The registry.
        state: Fed up to targets.
        only: Read no bin but those whose path in the registry is among these.
    """
    for place in () if state.bins is None else state.bins.all():
        assert state.bins is not None  # it has bins
        version, _ = state.bins.snapshot_promise(place)
        if only is None or f"metadata/{version}.{place.snapshot}.json" in only:
            _load_bin(host, state.bins, place)


def load_role(host: Readable, state: TrustedState, vendor: str) -> VendorRole | None:
    """Read a vendor's role, or None for a vendor that has not published yet."""
    load_bin(host, state, vendor)
    if not state.has_role(vendor):
        state.vendor_keys(vendor)
        return None
    version, promised = state.vendor_promise(vendor)
    return state.vendor_role(vendor, _read(host, f"{version}.{vendor}.json", promised.size))


def _load_bin(host: Readable, bins: TrustedBins, place: Bin) -> None:
    if place in bins:
        return
    version, promised = bins.snapshot_promise(place)
    bins.update_snapshot(place, _read(host, f"{version}.{place.snapshot}.json", promised.size))
    version, promised = bins.targets_promise(place)
    bins.update_targets(place, _read(host, f"{version}.{place.targets}.json", promised.size))


def _read(host: Readable, name: str, max_bytes: int) -> bytes:
    data = host.read(f"metadata/{name}", max_bytes)
    if data is None:
        raise IntegrityError("missing-metadata", f"the registry lacks {name}")
    return data
