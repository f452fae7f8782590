"""The newest metadata that was believed so far: what comes later may not fall below it (rollback protection)."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

from tuf.api.metadata import Snapshot, Targets, Timestamp

from patchpm.trust.tuf_bins import bits_of
from patchpm.trust.tuf_metadata import SNAPSHOT, TARGETS, TIMESTAMP, Document, rollback


@dataclass(frozen=True, slots=True)
class Versions:
    """How new the state of a registry is."""

    root: int
    timestamp: int
    snapshot: int
    targets: int


@dataclass(frozen=True, slots=True)
class Floor:
    """Metadata that was good once. It may have expired, and its parts may come from different runs."""

    timestamp: Document[Timestamp] | None = None
    snapshot: Document[Snapshot] | None = None
    targets: Document[Targets] | None = None

    def after_rotation(self, changed: Set[str]) -> Floor:
        """What is left of the floor after root gave the roles in `changed` other keys (5.3.11)."""
        restart = bool(changed & {TIMESTAMP, SNAPSHOT})
        return Floor(
            None if restart else self.timestamp,
            None if restart else self.snapshot,
            None if TARGETS in changed else self.targets,
        )

    def timestamp_after(self, new: Document[Timestamp]) -> Document[Timestamp]:
        """The timestamp to go on with (5.4.3): the new one, or the one seen before if it is the same version.

        Raises:
            TrustError: `rollback`.
        """
        old = self.timestamp
        if old is None:
            return new
        if new.version < old.version:  # 5.4.3.1
            raise rollback(new.name, f"version {old.version} was seen before, and this is version {new.version}")
        if new.version == old.version:
            return old
        before, after = old.signed.snapshot_meta.version, new.signed.snapshot_meta.version
        if after < before:  # 5.4.3.2
            raise rollback(new.name, f"snapshot {before} was seen before, and it names snapshot {after}")
        return new

    def check_snapshot(self, new: Document[Snapshot]) -> None:
        """Make sure that no role listed in a snapshot went back or away (5.5.5).

        A registry that has grown lists bins in place of vendors, or more bins. What it listed before is then looked for
        in the bins, when they are read; see `TrustedBins.update_snapshot`.

        Raises:
            TrustError: `rollback`.
        """
        if self.snapshot is None:
            return
        before, now = bits_of(self.snapshot), bits_of(new)
        if now < before:
            raise rollback(new.name, f"it has {2**now} bins, and had {2**before} before")
        check_promises(new, self.snapshot, lambda file: now == before or file == f"{TARGETS}.json")


def check_promises(new: Document[Snapshot], old: Document[Snapshot], counts: Callable[[str], bool]) -> None:
    """Make sure that no file promised before, of those that count, went back or away (5.5.5).

    Raises:
        TrustError: `rollback`.
    """
    for file, before in old.signed.meta.items():
        if not counts(file):
            continue
        found = new.signed.meta.get(file)
        if found is None:
            raise rollback(new.name, f"{file} was listed before, and is not any more")
        if type(found.version) is not int or found.version < before.version:
            raise rollback(new.name, f"version {before.version} of {file} was seen before; it lists {found.version}")
