"""A client of one registry: fetches metadata, feeds it to the state machine, and remembers what it came to believe.

What is remembered is checked again whenever it is read. It is the floor against rollback, and what is used where the
host cannot be reached, until it expires.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from patchpm.errors import IntegrityError, NetworkError, TrustError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.patch.name import PatchName
from patchpm.patch.release import ReleaseFiles
from patchpm.registry.entry_json import read_entry
from patchpm.registry.fetching import read_release
from patchpm.registry.host import Host
from patchpm.registry.hub import HubHost
from patchpm.registry.index import ReleaseEntry
from patchpm.registry.memory import (
    Memory,
    corrupt,
    forget_bins,
    remember,
    remember_bin,
    remember_role,
    remembered,
    remembered_role,
)
from patchpm.registry.remembered_bins import fits, take_bin
from patchpm.trust.policy import KeySet
from patchpm.trust.tuf_bins import WHOLE, bits_of
from patchpm.trust.tuf_metadata import MAX_BYTES, ROOT, TIMESTAMP
from patchpm.trust.tuf_state import TrustedState, VendorRole

MAX_ROOTS: Final = 256
"""Most versions of root that are looked at (5.3.3 asks for a bound)."""
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.1
_TIMESTAMP: Final = "timestamp.json"
_TORN: Final = frozenset({"unknown-signer", "too-few-signatures"})


class RegistryClient:
    """One registry, as one run sees it.

    Args:
        host: Where its files are.
        alias: What the policy calls it.
        pin: Digest of the root file that trust starts at.
        folder: Where this registry's state is kept between runs.
        now: The time.
        offline: Ask no host over the network.
    """

    def __init__(
        self, host: Host, alias: str, pin: Digest, folder: Path, now: datetime, *, offline: bool = False
    ) -> None:
        self.host = host
        self.alias = alias
        self._pin = pin
        self._folder = folder / alias / pin.hex[:16]
        self._now = now
        self._offline = offline and not host.is_local
        self.unreached: NetworkError | None = None
        """Why the host did not answer, where the last state had to do."""
        self._ahead: dict[str, bytes | None] = {}
        """Files that were asked for before their turn."""
        self._roles: dict[str, VendorRole] = {}
        self._paths: dict[str, dict[PatchName, list[str]]] = {}

    @cached_property
    def state(self) -> TrustedState:
        """The verified state: refreshed on first use, or the last one where the host is out of reach.

        Raises:
            TrustError: `root-mismatch`, `rollback`, `expired-metadata` and the others of `patchpm.trust.tuf_state`.
            IntegrityError: for malformed metadata, or `state-corrupt`.
            NetworkError: `unreachable` where there is no last state either.
        """
        from filelock import FileLock

        from patchpm.atomic_write import explained

        with explained(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(self._folder / ".lock"):
                memory = remembered(self._folder)
                if self._offline:
                    return self._last(memory)
                try:
                    return self._refreshed(memory)
                except NetworkError as error:
                    if memory is None:
                        raise
                    self.unreached = error
                    return self._last(memory)

    def vendors(self) -> tuple[str, ...]:
        """Everyone who has a namespace here, sorted. Reads all bins."""
        if self.state.bins is not None:
            for place in self.state.bins.all():
                take_bin(self.state.bins, place, self._folder, self._read)
        return self.state.vendors()

    def vendor_keys(self, vendor: str) -> KeySet:
        """The keys that the registry delegates a vendor's namespace to.

        Raises:
            CannotError: `unknown-vendor`.
        """
        return self._with_bin(vendor).vendor_keys(vendor)

    def names(self, vendor: str) -> tuple[PatchName, ...]:
        """The patches of one vendor, sorted."""
        return tuple(sorted(self._listed(vendor)))

    def entries(self, name: PatchName) -> tuple[ReleaseEntry, ...]:
        """All releases of `name`, in the order of their paths; empty for an unknown one."""
        paths = self._listed(name.vendor).get(name, ())
        if not paths:
            return ()
        role = self._role(name.vendor)
        source = role.document.name
        return tuple(read_entry(path, role.targets[path], self.alias, source) for path in sorted(paths))

    def fetch(self, entry: ReleaseEntry) -> ReleaseFiles:
        """The files of a release, not verified yet."""
        return read_release(self.host, entry)

    @property
    def has_commits(self) -> bool:
        """Whether the host can be asked for the commit of a release."""
        return isinstance(self.host, HubHost) and not self._offline and self.unreached is None

    def pin(self, entry: ReleaseEntry) -> str | None:
        """The commit that the release's tag names; None where there is none, or on a host without commits."""
        return self.host.pin(entry.path, entry.manifest) if isinstance(self.host, HubHost) else None

    def _listed(self, vendor: str) -> dict[PatchName, list[str]]:
        if vendor not in self._paths:
            found: dict[PatchName, list[str]] = {}
            if self._with_bin(vendor).has_role(vendor):
                for path in self._role(vendor).targets:
                    name = path.split("/")[1]
                    found.setdefault(PatchName(vendor, name), []).append(path)
            self._paths[vendor] = found
        return self._paths[vendor]

    def _with_bin(self, vendor: str) -> TrustedState:
        bins = self.state.bins
        if bins is not None:
            take_bin(bins, bins.of(vendor), self._folder, self._read)
        return self.state

    def _role(self, vendor: str) -> VendorRole:
        if vendor not in self._roles:
            version, promised = self._with_bin(vendor).vendor_promise(vendor)
            data = remembered_role(self._folder, vendor)
            kept = data is not None and fits(data, promised)
            if data is None or not kept:
                data = self._read(f"{version}.{vendor}.json", promised.size)
            self._roles[vendor] = self.state.vendor_role(vendor, data)
            if not kept:
                remember_role(self._folder, vendor, data)
        return self._roles[vendor]

    def _refreshed(self, memory: Memory | None) -> TrustedState:
        if memory is None and not self.host.is_local:
            self._ahead = _read_at_once(
                self.host, [("1.root.json", ROOT), ("2.root.json", ROOT), (_TIMESTAMP, TIMESTAMP)]
            )
        state = self._pinned() if memory is None else self._recalled(memory)
        timestamp = self._asked(_TIMESTAMP, TIMESTAMP)
        # Whatever changes, a root too, comes with a new timestamp. Without one, no other file need be asked for.
        if memory is None or timestamp is None or timestamp != memory.timestamp:
            self._follow_roots(state)
        if memory is not None and memory.snapshot is not None and state.floor.snapshot is None:  # 5.3.11
            forget_bins(self._folder)
        memory = remember(self._folder, state, memory)  # 5.3.8
        self._take_timestamp(state, timestamp)
        memory = remember(self._folder, state, memory)  # 5.4.5
        before = state.floor.snapshot
        version, promised = state.snapshot_promise()
        state.update_snapshot(self._kept_or_read(memory.snapshot, f"{version}.snapshot.json", promised))
        if state.bins is None:
            version, promised = state.targets_promise()
            state.update_targets(self._kept_or_read(memory.targets, f"{version}.targets.json", promised))
        elif before is not None and not bits_of(before):  # what a flat registry promised is the floor of every bin
            remember_bin(self._folder, WHOLE.snapshot, before.data)
        remember(self._folder, state, memory)  # 5.5.7, 5.6.6
        return state

    def _kept_or_read(self, kept: bytes | None, name: str, promised: FileRef) -> bytes:
        return kept if kept is not None and fits(kept, promised) else self._read(name, promised.size)

    def _follow_roots(self, state: TrustedState) -> None:
        while (root := self._asked(f"{state.root.version + 1}.root.json", ROOT)) is not None:
            state.update_root(root)
            if len(state.roots) > MAX_ROOTS:
                raise TrustError("too-many-roots", "the registry has more versions of root than patchpm follows")

    def _take_timestamp(self, state: TrustedState, data: bytes | None) -> None:
        # A root that changes the timestamp's keys is there a moment before the timestamp that is signed with them.
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                state.update_timestamp(data or self._read(_TIMESTAMP, MAX_BYTES[TIMESTAMP]))
            except TrustError as error:
                if error.code not in _TORN or attempt == _ATTEMPTS:
                    raise
                time.sleep(_PAUSE_SECONDS)
                data = None
            else:
                return

    def _last(self, memory: Memory | None) -> TrustedState:
        if memory is None or memory.timestamp is None or memory.snapshot is None:
            raise self._unknown("the state")
        state = self._recalled(memory)
        state.update_timestamp(memory.timestamp)
        state.update_snapshot(memory.snapshot)
        if state.bins is None:
            if memory.targets is None:
                raise self._unknown("the list of vendors")
            state.update_targets(memory.targets)
        return state

    def _recalled(self, memory: Memory) -> TrustedState:
        try:
            state = TrustedState(memory.roots[0], self._pin, self._now)
            for root in memory.roots[1:]:
                state.update_root(root)
            state.recall(memory.timestamp, memory.snapshot, memory.targets)
        except IntegrityError as error:
            raise corrupt(self._folder, error) from None
        return state

    def _pinned(self) -> TrustedState:
        for version in range(1, MAX_ROOTS + 1):
            root = self._asked(f"{version}.root.json", ROOT)
            if root is None:
                break
            if Digest.of(root) == self._pin:
                return TrustedState(root, self._pin, self._now)
        raise TrustError(
            "root-mismatch",
            f"the registry {self.alias} is not the one that your policy pins",
            why=f"{self.host.where}: none of its files N.root.json, from 1.root.json on, has the digest {self._pin}",
            next="ask its operator for the digest by another way, then edit the policy yourself",
        )

    def _asked(self, name: str, role: str) -> bytes | None:
        if name in self._ahead:
            return self._ahead.pop(name)
        return self.host.read(f"metadata/{name}", MAX_BYTES[role])

    def _unknown(self, what: str) -> NetworkError:
        return NetworkError(
            "offline", f"{what} of the registry {self.alias} is not known yet", next="run it once without --offline"
        )

    def _read(self, name: str, max_bytes: int) -> bytes:
        if self._offline:
            raise self._unknown(name)
        data = self.host.read(f"metadata/{name}", max_bytes)
        if data is None:
            raise IntegrityError(
                "missing-metadata",
                f"the registry lacks {name}",
                why=f"{self.host.where} does not have metadata/{name}",
                next="tell whoever runs the registry; a mirror may be incomplete",
            )
        return data


def _read_at_once(host: Host, wanted: Sequence[tuple[str, str]]) -> dict[str, bytes | None]:
    """Files that a first run needs whatever they say: what one round trip can bring need not take three."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(wanted)) as pool:
        found = pool.map(lambda item: host.read(f"metadata/{item[0]}", MAX_BYTES[item[1]]), wanted)
        return {name: data for (name, _), data in zip(wanted, found, strict=True)}
