"""Fetching the three files of a release, by what a registry's index or a lock promises of them.

No metadata is needed for this: the promise holds the digests, and `verify_release` compares them.
"""

from __future__ import annotations

from typing import Protocol

from patchpm.errors import CannotError, IntegrityError, TrustError
from patchpm.patch.manifest import FileRef
from patchpm.patch.name import PatchName
from patchpm.patch.release import ATTESTATIONS, MANIFEST, PREFIX, ReleaseFiles
from patchpm.patch.version import Version
from patchpm.registry.host import Host
from patchpm.registry.hosts import open_host
from patchpm.registry.hub import HubHost
from patchpm.trust.policy import Policy
from patchpm.trust.release_steps import Promise


class Listed(Promise, Protocol):
    """A promise that says which patch it is about and which registry keeps it: an entry of an index, or of a lock."""

    @property
    def name(self) -> PatchName:
        """Of the patch."""

    @property
    def version(self) -> Version:
        """Which version."""

    @property
    def registry(self) -> str:
        """Alias of the registry."""

    @property
    def commit(self) -> str | None:
        """See `patchpm.project.lock.LockedRelease`."""


def read_release(host: Host, promise: Promise, commit: str | None = None) -> ReleaseFiles:
    """Read the files of a release, none beyond its promised size. They are not verified here.

    Args:
        host: Where they are.
        promise: What they must be.
        commit: On the Hub and its like, where they were when they were locked; their tag counts where it is gone.

    Raises:
        IntegrityError: `missing-file` or `too-large`.
        NetworkError: `unreachable`.
    """
    if commit is not None and isinstance(host, HubHost):
        host = host.at(commit)
    wanted = ((MANIFEST, promise.manifest), (PREFIX, promise.prefix), (ATTESTATIONS, promise.attestations))
    if host.is_local:
        return ReleaseFiles(*(_read(host, promise.path, file, promised) for file, promised in wanted))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(wanted)) as pool:  # each is a round trip
        return ReleaseFiles(*pool.map(lambda item: _read(host, promise.path, *item), wanted))


def fetch_release(policy: Policy, release: Listed, *, offline: bool = False) -> ReleaseFiles:
    """Fetch a locked release from the one registry that may serve it.

    Args:
        policy: Says which registry that is.
        release: What the lock or the index promises.
        offline: Ask no registry over the network.

    Raises:
        TrustError: `unknown-registry` where the policy gives the vendor to no registry, or not to the lock's.
        IntegrityError: `missing-file` or `too-large`.
        NetworkError: `unreachable`.
    """
    trusted = policy.registry_for(release.name.vendor)
    if trusted is None or trusted.alias != release.registry:
        raise TrustError(
            "unknown-registry",
            f"your policy does not let the registry {release.registry} serve {release.name}",
            why=f"it gives {release.name.vendor} to {'no registry' if trusted is None else trusted.alias}",
            next="compare the policy with that of whoever made the lock, or run `patchpm lock`",
        )
    host = open_host(trusted.url)
    if offline and not host.is_local:
        raise CannotError(
            "offline", f"{release.name} {release.version} is not in the store", next="run it again without --offline"
        )
    return read_release(host, release, release.commit)


def file_path(release: str, file: str) -> str:
    """Where a file of the release at the path `release` stands in its registry."""
    return f"patches/{release}/{file}"


def _read(host: Host, path: str, file: str, promised: FileRef) -> bytes:
    data = host.read(file_path(path, file), promised.size)
    if data is None:
        raise IntegrityError(
            "missing-file",
            f"the registry lacks {file} of {path}",
            why=f"{host.where} lists the release and does not have the file",
            next="tell whoever runs the registry; a mirror may be incomplete",
        )
    return data
