"""A change to a registry as values: which metadata is new, and how snapshot and timestamp seal it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from tuf.api.metadata import MetaFile, Root, Snapshot, Targets, Timestamp

from patchpm.registry.host import Change
from patchpm.registry.roles import Lifetimes, RootRoles, promise_of, signed_by, snapshot_of, timestamp_of
from patchpm.trust.policy import KeySet
from patchpm.trust.private_keys import Signer
from patchpm.trust.tuf_metadata import MAX_VERSION, SNAPSHOT, TIMESTAMP, Document
from patchpm.trust.tuf_state import TrustedState

_FORCED_UP: Final = MAX_VERSION // 2
"""No honest registry gets here: versions beyond were driven up by whoever stole a key."""

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a writer works with."""

    signers: tuple[Signer, ...]
    now: datetime
    lifetimes: Lifetimes

    def sign(self, signed: _T, parties: Iterable[KeySet], name: str) -> Document[_T]:
        """Sign metadata with the keys at hand; see `signed_by`."""
        return signed_by(signed, parties, self.signers, name)


@dataclass(frozen=True, slots=True)
class Edit:
    """New metadata and files, before they are sealed."""

    root: Document[Root] | None = None
    top: RootRoles | None = None
    """Keys of the top-level roles under `root`."""
    roles: Mapping[str, Document[Targets]] = field(default_factory=dict)
    """New `targets` and vendors' roles."""
    files: tuple[Change, ...] = ()
    """Files of releases."""


def sealed(state: TrustedState | None, edit: Edit, bench: Bench) -> tuple[Change, ...]:
    """All files of a change, in the order in which they are to be written: what is referred to comes first.

    Args:
        state: The registry before; None for a new one.
        edit: What changes.
        bench: Must hold the keys of snapshot and timestamp.

    Raises:
        UsageError: `missing-key`.
    """
    meta: dict[str, MetaFile] = {}
    snapshot_version = timestamp_version = 0
    if state is not None:
        assert state.snapshot is not None  # load_state has fed it
        meta = dict(state.snapshot.signed.meta)
        snapshot_version, timestamp_version = state.versions.snapshot, state.versions.timestamp
    meta |= {f"{role}.json": promise_of(document) for role, document in edit.roles.items()}
    snapshot_keys, timestamp_keys = _keys(state, edit, SNAPSHOT), _keys(state, edit, TIMESTAMP)
    rotated = state is not None and (
        snapshot_keys != state.root_keys(SNAPSHOT) or timestamp_keys != state.root_keys(TIMESTAMP)
    )
    version = _next(snapshot_version, rotated=rotated)
    name = f"{version}.snapshot.json"
    snapshot = bench.sign(snapshot_of(meta, version, bench.now + bench.lifetimes.snapshot), [snapshot_keys], name)
    version = _next(timestamp_version, rotated=rotated)
    timestamp = bench.sign(
        timestamp_of(snapshot, version, bench.now + bench.lifetimes.timestamp), [timestamp_keys], "timestamp.json"
    )
    documents = (*((edit.root,) if edit.root else ()), *edit.roles.values(), snapshot, timestamp)
    return (*edit.files, *((f"metadata/{document.name}", document.data) for document in documents))


def _keys(state: TrustedState | None, edit: Edit, role: str) -> KeySet:
    if edit.top is not None:
        return dict(edit.top.items())[role]
    assert state is not None  # a new registry comes with a root
    return state.root_keys(role)


def _next(version: int, *, rotated: bool) -> int:
    # New keys let clients forget the versions they have seen, which is the way back from a fast-forward attack.
    return 1 if rotated and version > _FORCED_UP else version + 1
