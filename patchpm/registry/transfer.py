"""Copying a registry from one host to another: for mirrors, moves, and sticks that cross an air gap.

The copy is the same registry: its root and all signatures stay, and clients that pin it may read either.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from patchpm.errors import CannotError, IntegrityError, TrustError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.patch.release import ATTESTATIONS, MANIFEST, PREFIX
from patchpm.registry.draft import ANY_TIME, load_bins, load_role, load_state
from patchpm.registry.entry_json import read_entry
from patchpm.registry.fetching import file_path, read_release
from patchpm.registry.folder import HEAD
from patchpm.registry.host import Change, Host, Readable
from patchpm.registry.index import ReleaseEntry
from patchpm.trust.tuf_state import TrustedState

_BATCH_BYTES: Final = 32 * 1024 * 1024
"""Bytes of releases that are held in memory at once, and put in place together."""
_PARALLEL: Final = 8
_ROOT: Final = ".root.json"
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Transferred:
    """What a copy came to."""

    releases: int
    """Releases that the target did not have."""
    bytes: int
    """Of these and of new metadata."""


@dataclass(slots=True)
class _Recorder:
    """A host that remembers what was read from it."""

    host: Readable
    files: dict[str, bytes] = field(default_factory=dict)

    def read(self, path: str, max_bytes: int) -> bytes | None:
        data = self.host.read(path, max_bytes)
        if data is not None:
            self.files[path] = data
        return data


@dataclass(frozen=True, slots=True)
class _Content:
    """A registry at one instant, verified from its first root on."""

    metadata: dict[str, bytes]
    """By path, in the order in which it was read: what refers comes before what it refers to, except for roots."""
    state: TrustedState
    entries: dict[str, ReleaseEntry]
    """By path."""


def transfer(source: Host, target: Host, *, root: Digest | None = None) -> Transferred:
    """Make the registry at `target` the same as that at `source`. What it has already is not copied again.

    Every file is checked against signed metadata before it is put in place, and the metadata comes last: readers of
    the target see the old state or the new one. A copy that was killed is finished by the next one.

    Args:
        source: The registry to read.
        target: The same registry in an older state, or an empty place.
        root: What the digest of one of the source's roots must be.

    Raises:
        CannotError: `registry-exists` where another registry is at the target, or as `Host.commit`.
        TrustError: `root-mismatch`, or `rollback` where the target is newer than the source.
        IntegrityError: Where the source's files are not what its metadata says.
        NetworkError: `unreachable`.
    """
    found = _content(source)
    roots = [data for path, data in found.metadata.items() if path.endswith(_ROOT)]
    if root is not None and root not in map(Digest.of, roots):
        raise TrustError(
            "root-mismatch", "this is another registry", why=f"{source.where}: no root has the digest {root}"
        )
    expect = target.head()
    there = _same_registry(target, found) if expect else None
    known = {} if there is None else there.entries
    missing = [entry for path, entry in found.entries.items() if not _is_kept(entry, known.get(path))]
    copied = 0
    for batch in _batches(missing):
        files = _read_all(source, batch)
        target.commit(files, expect)
        copied += sum(len(data) for _, data in files)
    old = {} if there is None else there.metadata
    fresh = [(path, data) for path, data in found.metadata.items() if old.get(path) != data]
    if fresh:
        of_roots = [file for file in fresh if file[0].endswith(_ROOT)]
        target.commit([*of_roots, *(file for file in reversed(fresh) if file not in of_roots)], expect)
    return Transferred(len(missing), copied + sum(len(data) for _, data in fresh))


def _content(host: Readable) -> _Content:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _content_now(host)
        except IntegrityError:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_SECONDS)  # it was read while someone committed, perhaps
    raise AssertionError("the last attempt returns or raises")


def _content_now(host: Readable) -> _Content:
    recorder = _Recorder(host)
    state = load_state(recorder, ANY_TIME)
    load_bins(recorder, state)
    entries: dict[str, ReleaseEntry] = {}
    for vendor in state.vendors():
        role = load_role(recorder, state, vendor)
        if role is not None:
            entries |= {path: read_entry(path, target, "", role.document.name) for path, target in role.targets.items()}
    return _Content(recorder.files, state, entries)


def _same_registry(target: Host, found: _Content) -> _Content:
    there = _content(target)
    first = "metadata/1.root.json"
    if there.metadata[first] != found.metadata[first]:
        raise CannotError(
            "registry-exists",
            "another registry is there already",
            why=f"{target.where} starts at the root {Digest.of(there.metadata[first])}",
            next="copy to an empty place",
        )
    found.state.check_not_below(there.state.versions)
    same = found.state.versions.timestamp == there.state.versions.timestamp
    if same and there.metadata[HEAD] != found.metadata[HEAD]:
        raise CannotError(
            "registry-forked",
            "both places have gone on from the same state, in different ways",
            why=f"timestamp {found.state.versions.timestamp} of {target.where} has other bytes",
            next="find out who signed both, and publish the one's new releases to the other",
        )
    return there


def _is_kept(entry: ReleaseEntry, there: ReleaseEntry | None) -> bool:
    return there is not None and _files(entry) == _files(there)


def _files(entry: ReleaseEntry) -> dict[str, FileRef]:
    return {MANIFEST: entry.manifest, PREFIX: entry.prefix, ATTESTATIONS: entry.attestations}


def _batches(entries: Sequence[ReleaseEntry]) -> Iterator[list[ReleaseEntry]]:
    batch: list[ReleaseEntry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += sum(file.size for file in _files(entry).values())
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read_all(source: Host, entries: Sequence[ReleaseEntry]) -> list[Change]:
    with ThreadPoolExecutor(_PARALLEL) as pool:
        return [change for changes in pool.map(lambda entry: _release(source, entry), entries) for change in changes]


def _release(source: Host, entry: ReleaseEntry) -> list[Change]:
    files = dict(read_release(source, entry).items())
    for name, promised in _files(entry).items():
        if Digest.of(files[name]) != promised.digest:
            raise IntegrityError(
                "wrong-digest",
                f"{name} of {entry.path} is not what the registry promises",
                why=f"{source.where}: expected {promised.digest}, found {Digest.of(files[name])}",
                next="tell whoever runs the registry",
            )
    return [(file_path(entry.path, name), data) for name, data in files.items()]
