"""From the address of a registry to the host that keeps it."""

from __future__ import annotations

from patchpm.registry.builtin import URL, builtin_host
from patchpm.registry.folder import open_folder
from patchpm.registry.host import Host


def open_host(url: str) -> Host:
    """The host at an address of the policy.

    Raises:
        UsageError: `unsupported-registry`.
    """
    return builtin_host() if url == URL else open_folder(url)
