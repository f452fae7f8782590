"""The patch set that a project's lock pins for one base, verified, with its rows, for exporting and serving it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchpm.cli.bases import measure
from patchpm.cli.extra import needs_extra
from patchpm.cli.session import Session
from patchpm.errors import IntegrityError, UsageError
from patchpm.patch.fingerprint import Assurance
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
    bases = session.project.bases
    if label is None and len(bases) == 1:
        (label,) = bases
    if label is None or label not in bases:
        raise UsageError(
            "which-base", "say which base of the project is meant", why=f"it has {', '.join(bases)}", next="--base NAME"
        )
    check_fresh(session.project, session.lock)
    composition, releases = session.installer.load(session.lock, label)
    base = measure(bases[label], folder, rehash=session.policy.base_assurance is Assurance.VERIFIED)
    for release in releases:
        if release.manifest.base.match(base.fingerprint) is None:
            raise IntegrityError(
                "base-mismatch",
                f"{release.manifest.name} was not made for the model in {base.source}",
                next="run `patchpm lock` to choose releases for your base",
            )
    with needs_extra("model"):
        from patchpm.model.loaded import LoadedPatch, PatchSet

        patches = tuple(LoadedPatch.of(release.manifest, release.files.prefix) for release in releases)
    return LockedSet(label, base, PatchSet(composition.anchor, patches))
