"""Registries of any size for benchmarks: real keys and signatures, made without publishing a million times.

Vendors' roles go straight to disk, so memory holds keys and promises only. Of the releases that are listed no files
exist; whoever measures an install publishes a real one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from tuf.api.metadata import MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import CanonicalJSONSerializer

from patchpm.patch.digest import Digest
from patchpm.registry.entry_json import to_target
from patchpm.registry.index import ReleaseEntry
from patchpm.registry.listing import bits_for
from patchpm.registry.roles import (
    SPEC_VERSION,
    Lifetimes,
    RootRoles,
    bins_targets_of,
    promise_of,
    root_of,
    snapshot_of,
    targets_of,
    timestamp_of,
    vendor_targets,
)
from patchpm.trust.policy import KeySet, key_set
from patchpm.trust.private_keys import PrivateKey, generate
from patchpm.trust.tuf_bins import Bin, all_bins
from patchpm.trust.tuf_metadata import Document, sign_document

PATCHES, VERSIONS = 5, 20
PER_VENDOR = PATCHES * VERSIONS

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Registry:
    """What was made."""

    folder: Path
    pin: Digest
    operator: tuple[PrivateKey, PrivateKey]
    """The offline key (root, targets) and the online one (snapshot, timestamp)."""
    vendors: Mapping[str, PrivateKey]


def vendor_name(number: int) -> str:
    """The name of a vendor."""
    return f"vendor-{number:05}"


def make_registry(folder: Path, releases: int, like: ReleaseEntry) -> Registry:
    """Make a registry with so many releases, 100 a vendor, whose entries look like `like`."""
    metadata = folder / "metadata"
    metadata.mkdir(parents=True)
    now = datetime.now(UTC).replace(microsecond=0)
    offline, online = generate(), generate()
    keys = {vendor_name(number): generate() for number in range(releases // PER_VENDOR)}
    promises = {}
    for vendor, key in track(keys.items(), f"{releases:,} releases", console=Console(stderr=True)):
        data = _role(vendor, key, like, now)
        (metadata / f"1.{vendor}.json").write_bytes(data)
        promises[f"{vendor}.json"] = MetaFile(1, len(data), {"sha256": Digest.of(data).hex})
    pin = _top(metadata, {name: key_set([key.public], 1) for name, key in keys.items()}, promises, offline, online, now)
    return Registry(folder, pin, (offline, online), keys)


def _top(
    metadata: Path,
    vendors: Mapping[str, KeySet],
    promises: Mapping[str, MetaFile],
    offline: PrivateKey,
    online: PrivateKey,
    now: datetime,
) -> Digest:
    life = Lifetimes()
    held, sealing = key_set([offline.public], 1), key_set([online.public], 1)

    def put(signed: _T, name: str, key: PrivateKey) -> Document[_T]:
        document = sign_document(signed, [key], name)
        (metadata / name).write_bytes(document.data)
        return document

    root = put(root_of(RootRoles(held, held, sealing, sealing), 1, now + life.root), "1.root.json", offline)
    bits = bits_for(len(vendors))
    if bits:
        members: dict[Bin, list[str]] = {place: [] for place in all_bins(bits)}
        for vendor in vendors:
            members[Bin.of(vendor, bits)].append(vendor)
        top = {}
        for place, names in members.items():
            made = targets_of({name: vendors[name] for name in names}, 1, now + life.targets, place)
            meta = {f"{place.targets}.json": promise_of(put(made, f"1.{place.targets}.json", offline))}
            meta |= {f"{name}.json": promises[f"{name}.json"] for name in names}
            part = put(snapshot_of(meta, 1, now + life.snapshot_bin, place), f"1.{place.snapshot}.json", online)
            top[f"{place.snapshot}.json"] = promise_of(part)
        head = put(bins_targets_of(held, bits, 1, now + life.targets), "1.targets.json", offline)
    else:
        head = put(targets_of(vendors, 1, now + life.targets), "1.targets.json", offline)
        top = dict(promises)
    top["targets.json"] = promise_of(head)
    snapshot = put(snapshot_of(top, 1, now + life.snapshot), "1.snapshot.json", online)
    put(timestamp_of(snapshot, 1, now + life.timestamp), "timestamp.json", online)
    return Digest.of(root.data)


def _role(vendor: str, key: PrivateKey, like: ReleaseEntry, now: datetime) -> bytes:
    """A vendor's role, in the bytes that `sign_document` makes, without its detours."""
    template = to_target(like).to_dict()
    targets = {}
    for patch in range(PATCHES):
        for version in range(VERSIONS):
            path = f"{vendor}/patch-{patch}/1.{version}.0/{like.base.short}"
            targets[path] = _entry(template, path)
    expires = now + Lifetimes().vendor
    signed = {
        "_type": "targets",
        "expires": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
        "spec_version": SPEC_VERSION,
        "targets": targets,
        "version": 1,
    }
    message = _compact(signed)
    signature = {"keyid": key.public.id, "sig": key.sign(message).hex()}
    data = _compact({"signatures": [signature], "signed": signed})
    if vendor == vendor_name(0):
        again = Targets.from_dict(json.loads(message))
        assert CanonicalJSONSerializer().serialize(again) == message
        made = vendor_targets(again.targets, 1, expires)
        assert sign_document(made, [key], "").data == data
    return data


def _entry(template: Mapping[str, Any], path: str) -> dict[str, Any]:
    def digest(file: str) -> str:
        return hashlib.sha256(f"{path}/{file}".encode()).hexdigest()

    custom = template["custom"]
    files = {file: {**custom[file], "sha256": f"sha256:{digest(file)}"} for file in ("prefix", "attestations")}
    return {**template, "hashes": {"sha256": digest("manifest")}, "custom": {**custom, **files}}


def _compact(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
