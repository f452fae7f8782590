"""The patch set that a project's lock pins for one base, verified, with its rows, for exporting and serving it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchpm.cli.chosen_base import chosen_base, measured_base
from patchpm.cli.extra import needs_extra
from patchpm.cli.session import Session
from patchpm.project.files import check_fresh

if TYPE_CHECKING:
    from patchpm.model.fingerprint import Measured
    from patchpm.model.loaded import PatchSet


@dataclass(frozen=True, slots=True)
class LockedSet:
    """What the lock applies to one base."""

    label: str
    base: Measured
    """The base as it is on this machine: a folder of safetensors, or a GGUF file."""
    patches: PatchSet


def locked_set(folder: Path, label: str | None) -> LockedSet:
    """Load the patch set of a base, or of the project's only one.

    Args:
        folder: Of `patchpm.toml` and `patchpm.lock`.
        label: Which base of the project.

    Raises:
        UsageError: `which-base`.
        StaleLockError: `no-lock`, `stale-lock`.
        CannotError: `extra-missing`, and as `Installer.load` and the fingerprint room.
        IntegrityError: `base-mismatch`, and as `Installer.load`.
    """
    session = Session(folder)
    label = chosen_base(session.project.bases, label)
    check_fresh(session.project, session.lock)
    composition, releases = session.installer.load(session.lock, label)
    manifests = [release.manifest for release in releases]
    base = measured_base(session, session.project.bases[label], folder, manifests)
    with needs_extra("model"):
        from patchpm.model.loaded import LoadedPatch, PatchSet

        patches = tuple(LoadedPatch.of(release.manifest, release.files.prefix) for release in releases)
    return LockedSet(label, base, PatchSet(composition.anchor, patches))
