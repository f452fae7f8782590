"""All registries of a policy as one index. Which of them a name belongs to is the policy's decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final

from patchpm.errors import NetworkError, TrustError
from patchpm.patch.name import PatchName
from patchpm.patch.release import ReleaseFiles
from patchpm.registry.client import RegistryClient
from patchpm.registry.hosts import open_host
from patchpm.registry.index import ReleaseEntry
from patchpm.trust.policy import ANY_VENDOR, KeySet, Policy
from patchpm.trust.tuf_floor import Versions

_PARALLEL: Final = 16


class Catalogue:
    """The registries of a policy, each refreshed and verified when it is first needed.

    Args:
        policy: Which registries, and which names each may serve.
        folder: Where the state of all registries is kept between runs.
        now: The time.
        offline: Ask no registry over the network.
        seen: Versions, by alias, that whoever made the lock saw; a registry below them is refused.
    """

    def __init__(
        self,
        policy: Policy,
        folder: Path,
        now: datetime,
        *,
        offline: bool = False,
        seen: Mapping[str, Versions] | None = None,
    ) -> None:
        self._policy = policy
        self._folder = folder
        self._now = now
        self._offline = offline
        self._seen = seen or {}
        self._clients: dict[str, RegistryClient] = {}
        self._entries: dict[PatchName, tuple[ReleaseEntry, ...]] = {}

    def entries(self, name: PatchName) -> Sequence[ReleaseEntry]:
        """All releases of `name`, from the one registry that may serve it."""
        if name not in self._entries:
            client = self._client_of(name.vendor)
            self._entries[name] = () if client is None else client.entries(name)
        return self._entries[name]

    def names(self) -> Sequence[PatchName]:
        """All names that the policy lets its registries serve, sorted."""
        found: list[PatchName] = []
        for trusted in self._policy.registries:
            client = self._client(trusted.alias)
            # A registry for a few vendors may hold thousands, whose lists need not be read.
            for vendor in client.vendors() if ANY_VENDOR in trusted.namespaces else trusted.namespaces:
                if self._client_of(vendor) is client:
                    found += client.names(vendor)
        return sorted(found)

    def vendor_keys(self, vendor: str) -> KeySet:
        """The keys that the vendor's registry delegates to.

        Raises:
            TrustError: `unknown-registry` where the policy gives the vendor to none.
            CannotError: `unknown-vendor`.
        """
        client = self._client_of(vendor)
        if client is None:
            raise TrustError("unknown-registry", f"your policy gives the vendor {vendor} to no registry")
        return client.vendor_keys(vendor)

    def fetch(self, entry: ReleaseEntry) -> ReleaseFiles:
        """The files of a release, not verified yet."""
        return self._client(entry.registry).fetch(entry)

    def pins(self, entries: Sequence[ReleaseEntry]) -> dict[str, str]:
        """The commits that the tags of releases name, by path, for those that are on the Hub or its like."""
        wanted = {entry.path: entry for entry in entries if self._client(entry.registry).has_commits}
        if not wanted:
            return {}
        with ThreadPoolExecutor(_PARALLEL) as pool:
            found = pool.map(lambda entry: self._client(entry.registry).pin(entry), wanted.values())
            return {path: commit for path, commit in zip(wanted, found, strict=True) if commit is not None}

    def unreached(self, alias: str) -> NetworkError | None:
        """Why a registry did not answer, where its last state, not expired yet, had to do."""
        self.versions(alias)
        return self._client(alias).unreached

    def versions(self, alias: str) -> Versions:
        """The versions of one registry's metadata."""
        return self._client(alias).state.versions

    def _client_of(self, vendor: str) -> RegistryClient | None:
        trusted = self._policy.registry_for(vendor)
        return None if trusted is None else self._client(trusted.alias)

    def _client(self, alias: str) -> RegistryClient:
        if alias not in self._clients:
            trusted = next(item for item in self._policy.registries if item.alias == alias)
            client = RegistryClient(
                open_host(trusted.url), alias, trusted.root, self._folder, self._now, offline=self._offline
            )
            if alias in self._seen:
                client.state.check_not_below(self._seen[alias])
            self._clients[alias] = client
        return self._clients[alias]
