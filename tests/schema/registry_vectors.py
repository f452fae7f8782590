"""Two small registries.

One is flat: one vendor, two versions of which one is yanked, and a root that was replaced once. The other is in bins.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from patchpm.patch.manifest_json import read_manifest, write_manifest
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.registry.folder import FolderHost
from patchpm.registry.roles import Lifetimes, RootRoles
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.policy import key_set
from tests.schema.release_vectors import SIGNERS, release

NOW: Final = datetime(2026, 11, 24, 12, tzinfo=UTC)
"""When everything in it was signed; a client reads it with its clock at this time."""
_LIFETIMES: Final = Lifetimes(*[timedelta(days=1)] * 6)


def registry() -> dict[str, bytes]:
    """Path to bytes."""
    files = release()
    older = replace(read_manifest(files.manifest), version=Version.parse("1.1.0"))
    first, both = key_set([SIGNERS[0].public], 1), key_set([signer.public for signer in SIGNERS], 2)
    with tempfile.TemporaryDirectory() as folder:
        writer = RegistryWriter(FolderHost(Path(folder)), SIGNERS, NOW, lifetimes=_LIFETIMES)
        writer.create(RootRoles(first, both, first, first))
        writer.add_vendor("acme", both)
        writer.publish(sign_release(write_manifest(older), files.prefix, SIGNERS))
        writer.publish(files)
        writer.yank(PatchName("acme", "toxicity"), older.version, "replies in the wrong language")
        writer.rotate_root(RootRoles(both, both, first, first))
        return _written(Path(folder))


def registry_in_bins() -> dict[str, bytes]:
    """Path to bytes of a registry that has moved into two bins, and then into eight."""
    first, both = key_set([SIGNERS[0].public], 1), key_set([signer.public for signer in SIGNERS], 2)
    with tempfile.TemporaryDirectory() as folder:
        bits = {1: 0, 2: 1}
        writer = RegistryWriter(
            FolderHost(Path(folder)), SIGNERS, NOW, lifetimes=_LIFETIMES, spread=lambda vendors: bits.get(vendors, 3)
        )
        writer.create(RootRoles(first, both, first, first))
        writer.add_vendor("acme", both)
        writer.publish(release())
        writer.add_vendor("labx", first)
        writer.add_vendor("another", first)
        return _written(Path(folder))


def _written(root: Path) -> dict[str, bytes]:
    written = [path for top in ("metadata", "patches") for path in root.glob(f"{top}/**/*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(written)}
