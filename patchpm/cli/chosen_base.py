"""Which base of a project is meant, and whether it is the one that releases were made for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from patchpm.cli.bases import measure
from patchpm.cli.session import Session
from patchpm.errors import IntegrityError, UsageError
from patchpm.patch.fingerprint import Assurance
from patchpm.patch.manifest import Manifest

if TYPE_CHECKING:
    from patchpm.model.fingerprint import Measured


def chosen_base(labels: Collection[str], label: str | None, *, option: str = "--base") -> str:
    """The label that is meant: the one given, or the only one.

    Args:
        labels: Of all bases there are.
        label: What the user said.
        option: How to say it.

    Raises:
        UsageError: `which-base`.
    """
    if label is None and len(labels) == 1:
        (label,) = labels
    if label is None or label not in labels:
        raise UsageError(
            "which-base",
            "say which base is meant",
            why=f"there is {', '.join(labels) or 'none'}",
            next=f"{option} NAME",
        )
    return label


def measured_base(session: Session, location: str, beside: Path, manifests: Iterable[Manifest]) -> Measured:
    """Measure a base, as well as the policy asks for, and hold it against what releases were made for.

    Args:
        session: Whose policy says how well a base must be known.
        location: Of the base, as the user names it.
        beside: Folder that a relative location starts from.
        manifests: Of the releases.

    Raises:
        CannotError: As the fingerprint room.
        IntegrityError: `base-mismatch`.
    """
    found = measure(location, beside, rehash=session.policy.base_assurance is Assurance.VERIFIED)
    for manifest in manifests:
        if manifest.base.match(found.fingerprint) is None:
            raise IntegrityError(
                "base-mismatch",
                f"{manifest.name} was not made for the model in {found.source}",
                next="run `patchpm lock` to choose releases for your base",
            )
    return found
