"""The pieces of metadata that a registry consists of: whose keys sign what, how long it lasts, and how it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    MetaFile,
    Role,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from patchpm.errors import TrustError, UsageError
from patchpm.patch.digest import Digest
from patchpm.trust.policy import KeySet
from patchpm.trust.private_keys import Signer
from patchpm.trust.tuf_bins import Bin
from patchpm.trust.tuf_metadata import (
    BIN,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Document,
    check_signatures,
    sign_document,
    to_tuf_key,
)

SPEC_VERSION: Final = "1.0.31"

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class RootRoles:
    """Whose keys sign each top-level role. Root and targets are best kept offline."""

    root: KeySet
    targets: KeySet
    snapshot: KeySet
    timestamp: KeySet

    def items(self) -> tuple[tuple[str, KeySet], ...]:
        """Role names with their keys."""
        return ((ROOT, self.root), (SNAPSHOT, self.snapshot), (TARGETS, self.targets), (TIMESTAMP, self.timestamp))


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long each kind of metadata is good for. The timestamp's bounds how long a mirror can hide an update."""

    root: timedelta = timedelta(days=365)
    targets: timedelta = timedelta(days=180)
    vendor: timedelta = timedelta(days=180)
    snapshot: timedelta = timedelta(days=30)
    timestamp: timedelta = timedelta(days=7)
    snapshot_bin: timedelta = timedelta(days=180)
    """Of a bin's part of snapshot; `patchpm.trust.tuf_bins` says why it may last. Its part of targets has `targets`."""


def root_of(roles: RootRoles, version: int, expires: datetime) -> Root:
    """The root that gives each role its keys."""
    keys = {key.id: to_tuf_key(key) for _, party in roles.items() for key in party.sorted()}
    delegated = {role: Role([key.id for key in party.sorted()], party.threshold) for role, party in roles.items()}
    return Root(version, SPEC_VERSION, expires, keys, delegated, consistent_snapshot=True)


def targets_of(vendors: Mapping[str, KeySet], version: int, expires: datetime, place: Bin | None = None) -> Targets:
    """The top-level targets, or a bin's part of it: one terminating delegation a vendor, sorted."""
    keys = {key.id: to_tuf_key(key) for vendor in sorted(vendors) for key in vendors[vendor].sorted()}
    roles = {
        vendor: DelegatedRole(
            vendor,
            [key.id for key in vendors[vendor].sorted()],
            vendors[vendor].threshold,
            terminating=True,
            paths=[f"{vendor}/*/*/*"],
        )
        for vendor in sorted(vendors)
    }
    return Targets(version, SPEC_VERSION, expires, {}, Delegations(keys, roles), _field(place))


def bins_targets_of(keys: KeySet, bits: int, version: int, expires: datetime) -> Targets:
    """The top-level targets of a registry with bins: it delegates to the bins, in the form of TAP 15."""
    bins = SuccinctRoles([key.id for key in keys.sorted()], keys.threshold, bits, f"_{TARGETS}-{bits}")
    held = {key.id: to_tuf_key(key) for key in keys.sorted()}
    return Targets(version, SPEC_VERSION, expires, {}, Delegations(held, succinct_roles=bins))


def vendor_targets(targets: Mapping[str, TargetFile], version: int, expires: datetime) -> Targets:
    """A vendor's role: its releases by path."""
    return Targets(version, SPEC_VERSION, expires, dict(sorted(targets.items())))


def snapshot_of(meta: Mapping[str, MetaFile], version: int, expires: datetime, place: Bin | None = None) -> Snapshot:
    """The snapshot that promises targets and every vendor's role, or a bin's part of it."""
    return Snapshot(version, SPEC_VERSION, expires, dict(sorted(meta.items())), _field(place))


def timestamp_of(snapshot: Document[Snapshot], version: int, expires: datetime) -> Timestamp:
    """The timestamp that promises a snapshot."""
    return Timestamp(version, SPEC_VERSION, expires, promise_of(snapshot))


def promise_of(document: Document[_T]) -> MetaFile:
    """What other metadata says of a document."""
    return MetaFile(document.version, len(document.data), {"sha256": Digest.of(document.data).hex})


def signed_by(signed: _T, wanted: Iterable[KeySet], signers: Iterable[Signer], name: str) -> Document[_T]:
    """Sign metadata with those of `signers` that have a say over it.

    Raises:
        UsageError: `missing-key` where they are too few.
    """
    parties = list(wanted)
    known = {key for party in parties for key in party.keys}
    document = sign_document(signed, {one.public: one for one in signers if one.public in known}.values(), name)
    try:
        check_signatures(document, parties)
    except TrustError as error:
        needed = "; ".join(f"{party.threshold} of {', '.join(str(key) for key in party.sorted())}" for party in parties)
        raise UsageError(
            "missing-key",
            f"the keys given cannot sign {name}",
            why=f"{error.why}; it takes {needed}",
            next="give them all",
        ) from None
    return document


def _field(place: Bin | None) -> dict[str, str]:
    return {} if place is None else {BIN: place.label}
