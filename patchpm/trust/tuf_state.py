"""What a client believes about a registry: the TUF client workflow as a state machine that is fed with bytes.

The rules, with the specification's step numbers beside the code that keeps them:

- Trust starts at one root file, pinned by the digest of its bytes. Each later root is signed by the one before it and
  by itself, and has the next version.
- Root names the keys of timestamp, snapshot and targets. Timestamp promises the snapshot's bytes, snapshot those of
  targets and of every vendor's role, targets delegates `vendor/*/*/*` to that vendor's keys, and to nobody else. In a
  large registry both lists are cut into bins; see `patchpm.trust.tuf_bins`.
- No version ever goes back, in this run or against what was recalled from an earlier one.
- Nothing expired is used. The clock is the one given at the start, so a run sees one time.

Stages are fed in order: roots, then timestamp, snapshot, targets, then any vendors. Where there are bins, who installs
feeds those of the vendors asked for and no targets: the bins are signed by the same keys. There is no I/O here:
`patchpm.registry.client` fetches and keeps the bytes.

Source: https://theupdateframework.github.io/specification/v1.0.33/, section 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

from tuf.api.metadata import DelegatedRole, Root, Snapshot, TargetFile, Targets, Timestamp

from patchpm.errors import CannotError, TrustError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.trust.policy import KeySet
from patchpm.trust.tuf_binned import TrustedBins
from patchpm.trust.tuf_bins import bits_of
from patchpm.trust.tuf_floor import Floor, Versions
from patchpm.trust.tuf_metadata import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    Document,
    check_bytes,
    check_fresh,
    check_signatures,
    check_version,
    malformed,
    promised_file,
    read_document,
    role_keys,
    rollback,
)

_T = TypeVar("_T", Timestamp, Snapshot, Targets)
_D = TypeVar("_D")


_PATH: Final = re.compile(r"[a-z0-9-]{1,39}/[a-z0-9-]{1,39}/[0-9A-Za-z.+-]{5,64}/[0-9a-f]{12}", re.ASCII)
"""Address of a release. Checked before anything of it is shown, so that no path can style a terminal."""


@dataclass(frozen=True, slots=True)
class VendorRole:
    """A vendor's signed list of releases."""

    vendor: str
    document: Document[Targets]
    targets: Mapping[str, TargetFile]
    """By path; every path lies within the vendor's own namespace."""


class TrustedState:
    """The trusted metadata of one registry.

    Args:
        root: Bytes of a root file.
        pin: Digest that they must have.
        now: The time of this run, with time zone (5.1).

    Raises:
        TrustError: `root-mismatch`, or as for any metadata.
        IntegrityError: `malformed-json` or `malformed-metadata`.
    """

    def __init__(self, root: bytes, pin: Digest, now: datetime) -> None:
        if Digest.of(root) != pin:
            raise TrustError("root-mismatch", "root.json is not the root file that is pinned", why=f"pinned is {pin}")
        self.now = now
        first = read_document(root, Root, "root.json")
        self._keys = _root_keys(first)
        check_signatures(first, [self._keys[ROOT]])
        self.roots = [first]
        """Every root since the pinned one, oldest first."""
        self.floor = Floor()
        """What later metadata may not fall below."""
        self.timestamp: Document[Timestamp] | None = None
        self.snapshot: Document[Snapshot] | None = None
        self.targets: Document[Targets] | None = None
        self.bins: TrustedBins | None = None
        """The bins, where the snapshot is not flat."""

    @property
    def bits(self) -> int:
        """How many bits of the hash the bins are made by; 0 where there are none."""
        return 0 if self.bins is None else self.bins.bits

    @property
    def root(self) -> Document[Root]:
        """The newest root."""
        return self.roots[-1]

    @property
    def versions(self) -> Versions:
        """How new this state is, once it has been fed up to targets, or up to a snapshot with bins."""
        targets = _fed(self.targets).version if self.bins is None else self.targets_promise()[0]
        return Versions(self.root.version, _fed(self.timestamp).version, _fed(self.snapshot).version, targets)

    def update_root(self, data: bytes) -> None:
        """Take the next root (5.3.3 to 5.3.9)."""
        new = read_document(data, Root, f"{self.root.version + 1}.root.json")
        if new.version != self.root.version + 1:  # 5.3.5
            raise rollback(new.name, f"it holds version {new.version}, and the next one is {self.root.version + 1}")
        keys = _root_keys(new)
        check_signatures(new, [self._keys[ROOT], keys[ROOT]])  # 5.3.4
        # 5.3.11: who got hold of a key may have driven versions up (fast-forward), so new keys start afresh.
        self.floor = self.floor.after_rotation({role for role in TOP_LEVEL if keys[role] != self._keys[role]})
        self._keys = keys
        self.roots.append(new)  # 5.3.7

    def recall(self, timestamp: bytes | None, snapshot: bytes | None, targets: bytes | None) -> None:
        """Take what an earlier run believed under this root as the floor. It may have expired since.

        Raises:
            TrustError: where it is not signed as this root wants.
            IntegrityError: where it is malformed.
        """
        self.floor = Floor(
            None if timestamp is None else self._read(timestamp, Timestamp, TIMESTAMP),
            None if snapshot is None else self._read(snapshot, Snapshot, SNAPSHOT),
            None if targets is None else self._read(targets, Targets, TARGETS),
        )

    def update_timestamp(self, data: bytes) -> None:
        """Take a timestamp (5.4); of two with the same version, the one that was seen first stays."""
        check_fresh(self.root, self.now)  # 5.3.10
        new = self._read(data, Timestamp, TIMESTAMP)  # 5.4.2
        current = self.floor.timestamp_after(new)  # 5.4.3
        check_fresh(current, self.now)  # 5.4.4
        self.timestamp = current
        self.floor = replace(self.floor, timestamp=current)

    def snapshot_promise(self) -> tuple[int, FileRef]:
        """Version, size and digest of the snapshot that the timestamp names."""
        timestamp = _fed(self.timestamp)
        return promised_file({"snapshot.json": timestamp.signed.snapshot_meta}, "snapshot.json", timestamp.name)

    def update_snapshot(self, data: bytes) -> None:
        """Take the snapshot (5.5)."""
        version, promised = self.snapshot_promise()
        check_bytes(data, promised, f"{version}.snapshot.json")  # 5.5.2
        new = self._read(data, Snapshot, SNAPSHOT, version)  # 5.5.3
        check_version(new, version)  # 5.5.4
        self.floor.check_snapshot(new)  # 5.5.5
        check_fresh(new, self.now)  # 5.5.6
        bits = bits_of(new)
        self.bins = TrustedBins(bits, new, self._keys, self.now) if bits else None
        self.snapshot = new
        self.floor = replace(self.floor, snapshot=new, targets=None if bits else self.floor.targets)

    def targets_promise(self) -> tuple[int, FileRef]:
        """Version, size and digest of the targets metadata that the snapshot names."""
        snapshot = _fed(self.snapshot)
        return promised_file(snapshot.signed.meta, "targets.json", snapshot.name)

    def update_targets(self, data: bytes) -> None:
        """Take the top-level targets metadata (5.6), which holds the delegations and nothing else."""
        version, promised = self.targets_promise()
        check_bytes(data, promised, f"{version}.targets.json")  # 5.6.2
        new = self._read(data, Targets, TARGETS, version)  # 5.6.3
        check_version(new, version)  # 5.6.4
        check_fresh(new, self.now)  # 5.6.5
        if new.signed.targets:
            raise malformed(new.name, "it lists releases itself instead of delegating to vendors")
        if self.bins is not None:
            self.bins.check_head(new)
        elif new.signed.delegations is not None and new.signed.delegations.roles is None:
            raise malformed(new.name, "it delegates to bins, and the snapshot has none")
        self.targets = new
        self.floor = replace(self.floor, targets=new)

    def check_not_below(self, seen: Versions) -> None:
        """Make sure that this state is no older than one seen elsewhere, such as by whoever made a lock.

        Raises:
            TrustError: `rollback`.
        """
        found = self.versions
        if found.root < seen.root:
            raise rollback("root.json", f"version {seen.root} was seen before, and this is version {found.root}")
        old = next((root for root in self.roots if root.version == seen.root), None)
        rotated = old is None or any(_root_keys(old)[role] != self._keys[role] for role in (TIMESTAMP, SNAPSHOT))
        if rotated:  # 5.3.11: versions may have started afresh under new keys
            return
        for role in (TIMESTAMP, SNAPSHOT, TARGETS):
            if getattr(found, role) < getattr(seen, role):
                raise rollback(
                    f"{role}.json", f"version {getattr(seen, role)} was seen before, and this is {getattr(found, role)}"
                )

    def vendors(self) -> tuple[str, ...]:
        """Everyone who has a namespace, sorted. All bins must have been taken."""
        if self.bins is None:
            return tuple(sorted(vendors_in(_fed(self.targets))))
        return tuple(sorted(vendor for place in self.bins.all() for vendor in vendors_in(self.bins.delegations(place))))

    def vendors_of(self, key_ids: Set[str]) -> tuple[str, ...]:
        """The vendors for whom one of these keys may have a say, sorted. All bins must have been taken."""
        return tuple(vendor for vendor in self.vendors() if key_ids & set(self._delegation(vendor)[1].keyids))

    def vendor_keys(self, vendor: str) -> KeySet:
        """The keys that speak for a vendor (5.6.7.1). The vendor's bin must have been taken.

        Raises:
            CannotError: `unknown-vendor`.
            TrustError: `key-alias`, `malformed-key`, `weak-key` or `bad-threshold`.
            IntegrityError: `malformed-metadata` for a delegation of another shape than the one patchpm makes.
        """
        targets, role = self._delegation(vendor)
        if role.paths != [f"{vendor}/*/*/*"] or role.terminating is not True or role.unrecognized_fields:
            raise malformed(targets.name, f"the delegation to {vendor} is not terminating for {vendor}/*/*/*")
        assert targets.signed.delegations is not None  # _delegation found the role there
        return role_keys(role, targets.signed.delegations.keys, targets.name)

    def has_role(self, vendor: str) -> bool:
        """Whether a vendor has ever published. The vendor's bin must have been taken."""
        return (
            vendor in vendors_in(self._delegating(vendor)) and f"{vendor}.json" in self._promising(vendor).signed.meta
        )

    def vendor_promise(self, vendor: str) -> tuple[int, FileRef]:
        """Version, size and digest of a vendor's role. The vendor's bin must have been taken."""
        promising = self._promising(vendor)
        return promised_file(promising.signed.meta, f"{vendor}.json", promising.name)

    def vendor_role(self, vendor: str, data: bytes) -> VendorRole:
        """Read a vendor's role (5.6 again, for a delegated one).

        Raises:
            TrustError: `outside-namespace`, or as for any metadata.
            IntegrityError: `malformed-metadata`, `malformed-json` or `wrong-digest`.
        """
        version, promised = self.vendor_promise(vendor)
        check_bytes(data, promised, f"{version}.{vendor}.json")
        return self.proposed_role(vendor, version, data)

    def proposed_role(self, vendor: str, version: int, data: bytes) -> VendorRole:
        """Read a vendor's role that no snapshot promises yet.

        Raises:
            TrustError: `outside-namespace`, or as for any metadata.
            IntegrityError: `malformed-metadata` or `malformed-json`.
        """
        name = f"{version}.{vendor}.json"
        document = read_document(data, Targets, name, hashed=True)
        check_signatures(document, [self.vendor_keys(vendor)])
        check_version(document, version)
        check_fresh(document, self.now)
        if document.signed.delegations is not None:
            raise malformed(name, "a vendor may not delegate")
        for path in document.signed.targets:
            _check_namespace(vendor, path, name)
        return VendorRole(vendor, document, document.signed.targets)

    def root_keys(self, role: str) -> KeySet:
        """The keys of a top-level role."""
        return self._keys[role]

    def _read(self, data: bytes, kind: type[_T], role: str, promised: int | None = None) -> Document[_T]:
        name = f"{role}.json" if promised is None else f"{promised}.{role}.json"
        kept: Document[_T] | None = getattr(self.floor, role)
        if kept is not None and kept.data == data:  # checked under these very keys, or after_rotation had dropped it
            return replace(kept, name=name)
        document = read_document(data, kind, name, hashed=promised is not None)
        check_signatures(document, [self._keys[role]])
        return document

    def _promising(self, vendor: str) -> Document[Snapshot]:
        return _fed(self.snapshot) if self.bins is None else self.bins.promises(self.bins.of(vendor))

    def _delegating(self, vendor: str) -> Document[Targets]:
        return _fed(self.targets) if self.bins is None else self.bins.delegations(self.bins.of(vendor))

    def _delegation(self, vendor: str) -> tuple[Document[Targets], DelegatedRole]:
        targets = self._delegating(vendor)
        role = vendors_in(targets).get(vendor)
        if role is None:
            raise CannotError("unknown-vendor", f"the registry has no vendor {vendor}")
        return targets, role


def vendors_in(targets: Document[Targets]) -> Mapping[str, DelegatedRole]:
    """The vendors that a list delegates to."""
    delegations = targets.signed.delegations
    return {} if delegations is None or delegations.roles is None else delegations.roles


def _root_keys(root: Document[Root]) -> dict[str, KeySet]:
    if not root.signed.consistent_snapshot:
        raise malformed(root.name, "it does not ask for consistent snapshots")
    return {role: role_keys(root.signed.roles[role], root.signed.keys, root.name) for role in TOP_LEVEL}


def _check_namespace(vendor: str, path: str, name: str) -> None:
    if not path.startswith(f"{vendor}/") or _PATH.fullmatch(path) is None:
        raise TrustError(
            "outside-namespace",
            f"{vendor} lists a release that is not theirs",
            why=f"{name} holds {path[:200]!r}; {vendor} may list {vendor}/name/version/base only",
            next="tell whoever runs the registry: someone misuses the key of this vendor",
        )


def _fed(document: _D | None) -> _D:
    if document is None:
        raise RuntimeError("metadata is fed in the order timestamp, snapshot, targets")
    return document
