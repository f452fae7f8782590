"""A change to a registry as values: which metadata is new, and how snapshot and timestamp seal it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from patchpm.registry.host import Change, Forum
from patchpm.registry.listing import bits_for, listing
from patchpm.registry.roles import Lifetimes, RootRoles, signed_by, snapshot_of, timestamp_of
from patchpm.trust.policy import KeySet
from patchpm.trust.private_keys import Signer
from patchpm.trust.tuf_bins import Bin
from patchpm.trust.tuf_metadata import MAX_VERSION, SNAPSHOT, TARGETS, TIMESTAMP, Document
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
    spread: Callable[[int], int] = bits_for
    """How many bits of bins a registry of so many vendors needs; 0 for a flat one."""

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
    """New `targets`, bins' parts of it, and vendors' roles."""
    bits: int | None = None
    """How many bits the bins are made by from now on; None for no change."""
    due: frozenset[Bin] = frozenset()
    """Bins whose part of snapshot is to be signed anew, beside those that change."""
    files: tuple[Change, ...] = ()
    """Files of releases."""

    @property
    def vendors(self) -> tuple[str, ...]:
        """Those whose roles are new."""
        return tuple(role for role in self.roles if role != TARGETS and not role.startswith("_"))


def handed_in(forum: Forum, edit: Edit) -> str:
    """Propose a vendor's change to whoever can seal it; returns the proposal's address."""
    ((vendor, role),) = edit.roles.items()
    releases = sorted({"/".join(path.split("/")[1:4]) for path, _ in edit.files})
    return forum.propose(
        unsealed(edit), vendor, f"publish {', '.join(releases)}" if releases else f"change {role.name}"
    )


def unsealed(edit: Edit) -> tuple[Change, ...]:
    """The files of a change but for what the registry's own keys sign."""
    return (*edit.files, *((f"metadata/{role.name}", role.data) for role in edit.roles.values()))


def sealed(state: TrustedState | None, edit: Edit, bench: Bench) -> tuple[Change, ...]:
    """All files of a change, in the order in which they are to be written: what is referred to comes first.

    Args:
        state: The registry before, with every bin that changes; None for a new one.
        edit: What changes.
        bench: Must hold the keys of snapshot and timestamp.

    Raises:
        UsageError: `missing-key`.
    """
    snapshot_keys, timestamp_keys = _keys(state, edit, SNAPSHOT), _keys(state, edit, TIMESTAMP)
    moved = state is not None and snapshot_keys != state.root_keys(SNAPSHOT)
    rotated = moved or (state is not None and timestamp_keys != state.root_keys(TIMESTAMP))
    bits = edit.bits if edit.bits is not None else state.bits if state is not None else 0
    made = listing(state, edit.roles, bits, edit.due, everything=moved)
    lists = []
    for place, (old, meta) in made.bins.items():
        number = _next(old, rotated=rotated)
        content = snapshot_of(meta, number, bench.now + bench.lifetimes.snapshot_bin, place)
        lists.append(bench.sign(content, [snapshot_keys], f"{number}.{place.snapshot}.json"))
    meta = made.with_bins(lists)
    number = _next(0 if state is None else state.versions.snapshot, rotated=rotated)
    made_snapshot = snapshot_of(meta, number, bench.now + bench.lifetimes.snapshot)
    snapshot = bench.sign(made_snapshot, [snapshot_keys], f"{number}.snapshot.json")
    number = _next(0 if state is None else state.versions.timestamp, rotated=rotated)
    made_timestamp = timestamp_of(snapshot, number, bench.now + bench.lifetimes.timestamp)
    timestamp = bench.sign(made_timestamp, [timestamp_keys], "timestamp.json")
    documents = (*((edit.root,) if edit.root else ()), *edit.roles.values(), *lists, snapshot, timestamp)
    return (*edit.files, *((f"metadata/{document.name}", document.data) for document in documents))


def _keys(state: TrustedState | None, edit: Edit, role: str) -> KeySet:
    if edit.top is not None:
        return dict(edit.top.items())[role]
    assert state is not None  # a new registry comes with a root
    return state.root_keys(role)


def _next(version: int, *, rotated: bool) -> int:
    # New keys let clients forget the versions they have seen, which is the way back from a fast-forward attack.
    return 1 if rotated and version > _FORCED_UP else version + 1
