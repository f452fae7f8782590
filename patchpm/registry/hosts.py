"""From the address of a registry to the host that keeps it."""

from __future__ import annotations

from patchpm.registry.bucket import SCHEMES, open_bucket
from patchpm.registry.builtin import URL, builtin_host
from patchpm.registry.folder import open_folder
from patchpm.registry.host import Host
from patchpm.registry.web import open_web


def open_host(url: str) -> Host:
    """The host at an address of the policy.

    Raises:
        UsageError: `unsupported-registry`.
        CannotError: `extra-missing`.
    """
    if url == URL:
        return builtin_host()
    scheme = url.partition(":")[0]
    if scheme in ("http", "https"):
        return open_web(url)
    return open_bucket(url) if scheme in SCHEMES else open_folder(url)
