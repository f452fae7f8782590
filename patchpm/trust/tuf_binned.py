"""The bins of one registry, as far as they were asked for: fed with bytes, in any order of bins.

Of each bin the part of snapshot comes first, since it promises the part of targets (5.5 and 5.6 for a piece of each).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from tuf.api.metadata import Snapshot, Targets

from patchpm.patch.manifest import FileRef
from patchpm.trust.policy import KeySet
from patchpm.trust.tuf_bins import Bin, all_bins
from patchpm.trust.tuf_floor import check_promises
from patchpm.trust.tuf_metadata import (
    SNAPSHOT,
    TARGETS,
    Document,
    check_bytes,
    check_fresh,
    check_signatures,
    check_version,
    malformed,
    promised_file,
    read_document,
    role_keys,
)


class TrustedBins:
    """The bins that a snapshot names.

    Args:
        bits: Of the registry.
        snapshot: Verified.
        keys: Of the top-level roles.
        now: The time of this run.
    """

    def __init__(self, bits: int, snapshot: Document[Snapshot], keys: Mapping[str, KeySet], now: datetime) -> None:
        self.bits = bits
        self._snapshot = snapshot
        self._keys = keys
        self._now = now
        self._promises: dict[Bin, Document[Snapshot]] = {}
        self._delegations: dict[Bin, Document[Targets]] = {}

    def __contains__(self, place: Bin) -> bool:
        return place in self._delegations

    def all(self) -> tuple[Bin, ...]:
        """Every bin, taken or not."""
        return all_bins(self.bits)

    def of(self, vendor: str) -> Bin:
        """The one bin in which a vendor may stand."""
        return Bin.of(vendor, self.bits)

    def snapshot_promise(self, place: Bin) -> tuple[int, FileRef]:
        """Version, size and digest of a bin's part of snapshot."""
        return promised_file(self._snapshot.signed.meta, f"{place.snapshot}.json", self._snapshot.name)

    def earlier(self, place: Bin, data: bytes) -> Document[Snapshot]:
        """Read what an earlier run believed of a bin, or of a wider one. It may have expired since.

        Raises:
            TrustError, IntegrityError: where it is not what these keys have signed.
        """
        document = read_document(data, Snapshot, f"{place.snapshot}.json", place=place.label if place.bits else None)
        check_signatures(document, [self._keys[SNAPSHOT]])
        return document

    def update_snapshot(self, place: Bin, data: bytes, earlier: Iterable[Document[Snapshot]] = ()) -> None:
        """Take a bin's part of snapshot.

        Args:
            place: The bin.
            data: Its bytes.
            earlier: What was believed before of this bin, or of wider ones that its vendors stood in.

        Raises:
            TrustError: `rollback`, or as for any metadata.
            IntegrityError: `malformed-metadata`, `malformed-json` or `wrong-digest`.
        """
        version, promised = self.snapshot_promise(place)
        name = f"{version}.{place.snapshot}.json"
        check_bytes(data, promised, name)
        new = read_document(data, Snapshot, name, hashed=True, place=place.label)
        check_signatures(new, [self._keys[SNAPSHOT]])
        check_version(new, version)
        for file in new.signed.meta:
            if not place.lists(file):
                raise malformed(name, f"it lists {file[:80]!r}, which does not belong into this bin")
        for old in earlier:
            check_promises(new, old, place.lists)
        check_fresh(new, self._now)
        self._promises[place] = new

    def targets_promise(self, place: Bin) -> tuple[int, FileRef]:
        """Version, size and digest of a bin's part of targets."""
        promises = self.promises(place)
        return promised_file(promises.signed.meta, f"{place.targets}.json", promises.name)

    def update_targets(self, place: Bin, data: bytes) -> None:
        """Take a bin's part of targets.

        Raises:
            TrustError: as for any metadata.
            IntegrityError: `malformed-metadata`, `malformed-json` or `wrong-digest`.
        """
        version, promised = self.targets_promise(place)
        name = f"{version}.{place.targets}.json"
        check_bytes(data, promised, name)
        new = read_document(data, Targets, name, hashed=True, place=place.label)
        check_signatures(new, [self._keys[TARGETS]])
        check_version(new, version)
        check_fresh(new, self._now)
        if new.signed.targets:
            raise malformed(name, "it lists releases itself instead of delegating to vendors")
        if new.signed.delegations is None or new.signed.delegations.roles is None:
            raise malformed(name, "it delegates to nobody")
        for vendor in new.signed.delegations.roles:
            if not place.holds(vendor):
                raise malformed(name, f"it delegates to {vendor[:80]!r}, who does not belong into this bin")
        self._delegations[place] = new

    def promises(self, place: Bin) -> Document[Snapshot]:
        """A bin's part of snapshot, once taken."""
        if place not in self._promises:
            raise RuntimeError(f"{place.snapshot} is asked for before it was fed")
        return self._promises[place]

    def delegations(self, place: Bin) -> Document[Targets]:
        """A bin's part of targets, once taken."""
        if place not in self._delegations:
            raise RuntimeError(f"{place.targets} is asked for before it was fed")
        return self._delegations[place]

    def check_head(self, targets: Document[Targets]) -> None:
        """Make sure that `targets.json` delegates to these bins, with its own keys, and to nobody else.

        Raises:
            IntegrityError: `malformed-metadata`.
            TrustError: as for any keys.
        """
        delegations = targets.signed.delegations
        found = None if delegations is None else delegations.succinct_roles
        if (
            delegations is None
            or found is None
            or (found.bit_length, found.name_prefix) != (self.bits, f"_{TARGETS}-{self.bits}")
            or found.unrecognized_fields
            or role_keys(found, delegations.keys, targets.name) != self._keys[TARGETS]
        ):
            raise malformed(targets.name, "it does not delegate to the bins of the snapshot with its own keys")
