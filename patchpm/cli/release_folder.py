"""A release as a folder of three files, before it is in any registry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchpm.errors import CannotError
from patchpm.patch.release import ATTESTATIONS, FILES, MANIFEST, MAX_BYTES, PREFIX, ReleaseFiles
from patchpm.trust.attestations import read_attestations
from patchpm.trust.release import Verdict, verify_release
from patchpm.trust.statement import RELEASE, ReleaseClaim

if TYPE_CHECKING:
    from patchpm.cli.session import Session


def read_release_folder(folder: Path) -> ReleaseFiles:
    """Read the three files of a release, none beyond its largest size.

    Raises:
        CannotError: `unreadable-file`.
    """
    data = {}
    for name in FILES:
        path = folder / name
        try:
            with path.open("rb") as file:
                data[name] = file.read(MAX_BYTES[name] + 1)
        except OSError as error:
            raise CannotError("unreadable-file", f"{name} cannot be read", why=f"{path}: {error.strerror}") from None
    return ReleaseFiles(data[MANIFEST], data[PREFIX], data[ATTESTATIONS])


def verify_folder(session: Session, files: ReleaseFiles, *, to_evaluate: bool = False) -> Verdict:
    """Verify a release that no registry vouches for, with the keys that policy or registry give its vendor.

    Args:
        session: Whose policy holds.
        files: The release.
        to_evaluate: Whether an evaluator asks, who must not wait for evaluations: their own is missing still. All
            else that the policy wants is asked for.

    Raises:
        CannotError: `no-release-statement`, and what the registries raise.
    """
    statement = next(
        (a.statement for a in read_attestations(files.attestations) if a.statement.predicate_type == RELEASE), None
    )
    if statement is None:
        raise CannotError("no-release-statement", f"{ATTESTATIONS} holds no release statement")
    vendor = ReleaseClaim.read(statement).name.vendor
    pinned = session.policy.vendor(vendor)
    keys = pinned.keys if pinned is not None else session.catalogue.vendor_keys(vendor)
    demands = tuple(replace(item, evaluators=()) if to_evaluate else item for item in session.policy.demands)
    policy = replace(session.policy, demands=demands)
    return verify_release(files, keys=keys.keys, threshold=keys.threshold, policy=policy, now=session.now)
