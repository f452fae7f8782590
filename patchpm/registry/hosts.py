"""From the address of a registry to the host that keeps it."""

from __future__ import annotations

from functools import lru_cache

from patchpm.registry.bucket import SCHEMES, open_bucket
from patchpm.registry.builtin import URL, builtin_host
from patchpm.registry.folder import open_folder
from patchpm.registry.host import Host
from patchpm.registry.hub import open_hub
from patchpm.registry.hub_address import SCHEMES as HUB_SCHEMES
from patchpm.registry.web import open_web


@lru_cache(maxsize=64)
def open_host(url: str) -> Host:
    """The host at an address of the policy. One address has one host in a process, so that connections stay open.

    Raises:
        UsageError: `unsupported-registry`.
        CannotError: `extra-missing`.
    """
    if url == URL:
        return builtin_host()
    scheme = url.partition(":")[0]
    if scheme in ("http", "https"):
        return open_web(url)
    if scheme in HUB_SCHEMES:
        return open_hub(url)
    return open_bucket(url) if scheme in SCHEMES else open_folder(url)
