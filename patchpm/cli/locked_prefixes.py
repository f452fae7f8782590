"""The prefixes that a project's lock pins for one base, verified, for measuring them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchpm.cli.chosen_base import chosen_base, measured_base
from patchpm.cli.session import Session
from patchpm.errors import CannotError
from patchpm.patch.manifest import Manifest
from patchpm.project.files import check_fresh
from patchpm.trust.release import VerifiedRelease


@dataclass(frozen=True, slots=True)
class LockedPrefixes:
    """What the lock applies to one base."""

    label: str
    base: Path
    """Folder of the base model."""
    releases: Sequence[VerifiedRelease]
    """In the order in which they stand."""
    separator: str
    """Text behind each of them."""


def locked_prefixes(folder: Path, label: str | None) -> LockedPrefixes:
    """Load the patch set of a base, or of the project's only one.

    Raises:
        UsageError: `which-base`.
        StaleLockError: `no-lock`, `stale-lock`.
        CannotError: `not-a-folder` for a GGUF base, `cannot-measure`, and as `Installer.load`.
        IntegrityError: `base-mismatch`, and as `Installer.load`.
    """
    session = Session(folder)
    bases = session.project.bases
    label = chosen_base(bases, label, option="--base-label")
    check_fresh(session.project, session.lock)
    composition, releases = session.installer.load(session.lock, label)
    source = base_folder(session, bases[label], folder, [release.manifest for release in releases])
    separators = {release.manifest.prefix.separator for release in releases}
    if composition.anchor != "system-start" or len(separators) > 1:
        raise CannotError(
            "cannot-measure",
            f"the patch set of {label} cannot be measured",
            why=f"it stands at {composition.anchor} with the separators {sorted(separators)!r}",
            next="sets at system-start whose patches have the same separator can be",
        )
    return LockedPrefixes(label, source, releases, "".join(separators))


def base_folder(session: Session, location: str, beside: Path, manifests: Iterable[Manifest]) -> Path:
    """The folder of a base that releases are to be measured on, once it is known to be theirs.

    Args: as `measured_base`.

    Raises:
        CannotError: `not-a-folder` for a GGUF base, and as the fingerprint room.
        IntegrityError: `base-mismatch`.
    """
    measured = measured_base(session, location, beside, manifests)
    if measured.kind == "gguf":
        raise CannotError(
            "not-a-folder",
            f"{measured.source} is a GGUF file, which transformers does not run well",
            next="give the safetensors folder of the model as base",
        )
    return measured.source
