"""The registry that comes with the package: the first-party patches, with no server and no account.

Trusting it means trusting the package: its root is pinned here, its metadata expires late, and the private keys that
made it are thrown away. A rebuild (`recipes/build_builtin.py`) makes new keys and pins the new root.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from patchpm.patch.digest import Digest
from patchpm.registry.folder import FolderHost
from patchpm.trust.policy import Policy, RegistryTrust

ALIAS: Final = "builtin"
URL: Final = "builtin:"
"""The address that stands for this registry in a policy."""
VENDOR: Final = "patchpm"
ROOT: Final = Digest.parse("sha256:7f9c23862cf4287ef8264c1167ac7dc1f86e6448c1d3660c6d200812e585577b")
"""Of `builtin_registry/metadata/1.root.json`."""


def builtin_host() -> FolderHost:
    """The files of the registry."""
    return FolderHost(Path(__file__).parents[1] / "builtin_registry")


def builtin_policy() -> Policy:
    """The lowest layer of every policy."""
    return Policy(registries=(RegistryTrust(ALIAS, URL, ROOT, (VENDOR,)),))
