"""A registry in memory with real keys and signatures, a clock that can be set, and files that an attacker may edit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from patchpm.errors import NetworkError, PatchpmError
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.prefix import write_prefix
from patchpm.patch.release import ReleaseFiles
from patchpm.registry.client import RegistryClient
from patchpm.registry.draft import ANY_TIME, load_bins, load_role, load_state
from patchpm.registry.host import Change, conflict, too_large
from patchpm.registry.listing import bits_for
from patchpm.registry.roles import RootRoles, promise_of, snapshot_of, timestamp_of
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.policy import KeySet, key_set
from patchpm.trust.private_keys import PrivateKey, generate
from patchpm.trust.tuf_bins import Bin
from patchpm.trust.tuf_metadata import Document, sign_document
from patchpm.trust.tuf_state import TrustedState, VendorRole
from tests.builders import manifest, matrix

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
TIMESTAMP = "metadata/timestamp.json"


@dataclass
class MemoryHost:
    """A host whose files anyone may change."""

    files: dict[str, bytes] = field(default_factory=dict)
    is_local: bool = True
    reachable: bool = True
    where: str = "memory"
    read_bytes: int = 0
    """How many bytes were handed out."""
    asked: list[str] = field(default_factory=list)
    """Paths that were read."""

    def read(self, path: str, max_bytes: int) -> bytes | None:
        if not self.reachable:
            raise NetworkError("unreachable", "the registry cannot be read")
        self.asked.append(path)
        data = self.files.get(path)
        if data is None:
            return None
        self.read_bytes += min(len(data), max_bytes + 1)
        if len(data) > max_bytes:
            raise too_large(path, max_bytes)
        return data

    def head(self) -> str:
        data = self.files.get(TIMESTAMP)
        return "" if data is None else hashlib.sha256(data).hexdigest()

    def commit(self, changes: Sequence[Change], expect: str) -> None:
        if self.head() != expect:
            raise conflict(self.where)
        self.files.update(changes)


class RegistrySimulator:
    """A registry with each role in other hands, and the vendor `acme` (two keys, both must sign) with one release."""

    def __init__(self, state: Path, *, spread: Callable[[int], int] = bits_for) -> None:
        self.now = START
        self.spread = spread
        self.host = MemoryHost()
        self.users = state
        self.keys = {role: generate() for role in ("root", "root2", "targets", "snapshot", "timestamp")}
        self.vendors = {"acme": [generate(), generate("p256")]}
        self.pin = self.writer().create(self.roles())
        self.add_vendor("acme")
        self.publish()

    def copied(self, state: Path) -> RegistrySimulator:
        """The same registry with users of its own; neither sees what happens to the other from now on."""
        made = copy(self)
        made.users = state
        made.host = replace(self.host, files=dict(self.host.files), asked=[])
        made.keys = dict(self.keys)
        made.vendors = {vendor: list(keys) for vendor, keys in self.vendors.items()}
        return made

    def roles(self, **others: KeySet) -> RootRoles:
        """The keys of the top-level roles, some of them replaced."""
        parts = {
            "root": keys_of(self.keys["root"], self.keys["root2"], threshold=2),
            "targets": keys_of(self.keys["targets"]),
            "snapshot": keys_of(self.keys["snapshot"]),
            "timestamp": keys_of(self.keys["timestamp"]),
        }
        return RootRoles(**(parts | others))

    def writer(self, *more: PrivateKey) -> RegistryWriter:
        """The honest operator and all vendors in one."""
        held = [key for keys in self.vendors.values() for key in keys]
        return RegistryWriter(self.host, [*self.keys.values(), *held, *more], self.now, spread=self.spread)

    def add_vendor(self, vendor: str) -> None:
        """Register a vendor; an unknown one with a new key."""
        keys = self.vendors.setdefault(vendor, [generate()])
        self.writer().add_vendor(vendor, keys_of(*keys, threshold=len(keys)), allow_lookalike=True)

    def release(self, name: str = "acme/toxicity", version: str = "1.0.0", **changes: Any) -> ReleaseFiles:
        """A release signed by its vendor."""
        rows = changes.pop("prefix", matrix())
        made = manifest(name, version, prefix=rows, **changes)
        return sign_release(write_manifest(made), write_prefix(rows), self.vendors[made.name.vendor])

    def publish(self, name: str = "acme/toxicity", version: str = "1.0.0", **changes: Any) -> ReleaseFiles:
        """Publish such a release."""
        files = self.release(name, version, **changes)
        assert self.writer().publish(files)
        return files

    def client(self, user: str = "user") -> RegistryClient:
        """A run of the client of `user`, who remembers what earlier runs of theirs have seen."""
        return RegistryClient(self.host, "corp", self.pin, self.users / user, self.now)

    def later(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)

    def state(self) -> TrustedState:
        """What the registry says now."""
        return load_state(self.host, ANY_TIME)

    def role(self, vendor: str = "acme") -> VendorRole:
        """A vendor's role as it is now."""
        found = load_role(self.host, self.state(), vendor)
        assert found is not None
        return found

    def put(self, signed: _T, name: str, *signers: PrivateKey) -> Document[_T]:
        """Sign metadata with any keys, and put it where clients look."""
        document = sign_document(signed, signers, name)
        self.host.files[f"metadata/{name}"] = document.data
        return document

    def seal(self, change: Callable[[dict[str, Any]], None] | None = None, version: int | None = None) -> None:
        """Sign a new snapshot and timestamp with the online keys, whatever is in the registry.

        Args:
            change: Edits the snapshot's list of files.
            version: Of both; None for the next one.
        """
        state = self.state()
        assert state.snapshot is not None
        meta = dict(state.snapshot.signed.meta)
        if change is not None:
            change(meta)
        number = version or max(state.versions.snapshot, state.versions.timestamp) + 1
        expires = self.now + timedelta(days=7)
        snapshot = self.put(snapshot_of(meta, number, expires), f"{number}.snapshot.json", self.keys["snapshot"])
        self.put(timestamp_of(snapshot, number, expires), "timestamp.json", self.keys["timestamp"])

    def put_bin(
        self,
        place: Bin,
        change: Callable[[dict[str, Any]], None] | None = None,
        *,
        signer: PrivateKey | None = None,
        field: Bin | None = None,
        version: int | None = None,
    ) -> None:
        """Sign a bin's part of snapshot with the online keys, whatever is in it, and let snapshot vouch for it.

        Args:
            place: The bin.
            change: Edits its list of files.
            signer: Another key than that of snapshot.
            field: Another bin than this one, for what it says of itself.
            version: None for the next one.
        """
        state = self.everything()
        assert state.bins is not None
        old = state.bins.promises(place)
        meta = dict(old.signed.meta)
        if change is not None:
            change(meta)
        number = version or old.version + 1
        made = snapshot_of(meta, number, self.now + timedelta(days=180), field or place)
        document = self.put(made, f"{number}.{place.snapshot}.json", signer or self.keys["snapshot"])
        self.seal(lambda top: top.update({f"{place.snapshot}.json": promise_of(document)}))

    def put_bin_targets(self, place: Bin, signed: Targets, *signers: PrivateKey) -> None:
        """Sign a bin's part of targets with any keys, and let the online keys vouch for it."""
        document = self.put(signed, f"{signed.version}.{place.targets}.json", *signers)
        self.put_bin(place, lambda meta: meta.update({f"{place.targets}.json": promise_of(document)}))

    def everything(self) -> TrustedState:
        """What the registry says now, with all bins."""
        state = self.state()
        load_bins(self.host, state)
        return state

    def put_role(self, signed: Targets, *signers: PrivateKey, vendor: str = "acme") -> None:
        """Sign a vendor's role with any keys, and let the online keys vouch for it."""
        document = self.put(signed, f"{signed.version}.{vendor}.json", *signers)
        self.vouch(vendor, document)

    def vouch(self, vendor: str, document: Document[Targets]) -> None:
        """Let the online keys promise a vendor's role."""

        def promise(meta: dict[str, Any]) -> None:
            meta[f"{vendor}.json"] = promise_of(document)

        bins = self.state().bins
        if bins is None:
            self.seal(promise)
        else:
            self.put_bin(bins.of(vendor), promise)


def simulated(state: Path, *vendors: str, spread: Callable[[int], int] = bits_for) -> RegistrySimulator:
    """A registry with `acme` and more vendors, signed once for all tests: most of its cost is in signatures.

    All that this gives hold the same keys. A test that needs two registries makes a `RegistrySimulator` of its own.
    """
    return _original(vendors, spread).copied(state)


@cache
def _original(vendors: tuple[str, ...], spread: Callable[[int], int]) -> RegistrySimulator:
    made = RegistrySimulator(Path("nobody"), spread=spread)
    for vendor in vendors:
        made.add_vendor(vendor)
    return made


def crowded(vendors: int) -> int:
    """Bits of bins for tests: flat up to two vendors, two bins up to four, then four."""
    return 0 if vendors <= 2 else 1 if vendors <= 4 else 2


@contextmanager
def refused(code: str, file: str = "") -> Iterator[None]:
    """Expect an error with this code that names `file`."""
    with pytest.raises(PatchpmError) as caught:
        yield
    assert caught.value.code == code, str(caught.value)
    assert file in str(caught.value)


def keys_of(*keys: PrivateKey, threshold: int = 1) -> KeySet:
    """The public halves of some keys."""
    return key_set([key.public for key in keys], threshold)
