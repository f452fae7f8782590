"""The releases that a server may have in place of the locked ones: an export of last month, or of a newer lock."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Final

from patchpm.cli.output import note
from patchpm.cli.session import Session
from patchpm.errors import CannotError, NetworkError, PatchpmError
from patchpm.model.loaded import LoadedPatch, PatchSet
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import Fingerprint
from patchpm.registry.index import ReleaseEntry

_OF_EACH: Final = 3
_OF_ALL: Final = 12
"""Each costs the base a pass over all conversations."""


def other_releases(session: Session, base: Fingerprint, patches: PatchSet) -> tuple[LoadedPatch, ...]:
    """Other releases of each patch of a set, verified; yanked ones too.

    At most three of each patch and twelve in all: in turn the one before the locked, the newest, and so on. A release
    with the prefix of one that is there already is passed over, since no answer tells the two apart. So is, with a
    note, what cannot be fetched or is refused: a set is probed without a network too.

    Args:
        session: Whose registries are asked.
        base: What the releases must be made for.
        patches: The locked set.

    Raises:
        TrustError, IntegrityError: Where a registry's metadata is not to be trusted.
    """
    found = [_of_one(session, base, patches.anchor, patch) for patch in patches.patches]
    # The first of each comes first, so that a patch with many releases does not crowd out the others.
    by_rank = chain.from_iterable(zip_longest(*found))
    return tuple(release for release in by_rank if release is not None)[:_OF_ALL]


def _of_one(session: Session, base: Fingerprint, anchor: str, patch: LoadedPatch) -> list[LoadedPatch]:
    try:
        entries = sorted(session.catalogue.entries(patch.name), key=lambda entry: entry.version, reverse=True)
    except (NetworkError, CannotError) as error:
        note(f"other releases of {patch.name} are not known: {error.what}")
        return []
    fitting = [entry for entry in entries if anchor in entry.anchors and entry.base.match(base) is not None]
    older = [entry for entry in fitting if entry.version < patch.version]
    newer = [entry for entry in fitting if entry.version > patch.version]
    wanted: dict[Digest, ReleaseEntry] = {}
    for entry in chain.from_iterable(zip_longest(older, newer)):
        if entry is not None and entry.prefix.digest != patch.digest:
            wanted.setdefault(entry.prefix.digest, entry)
    found = []
    for entry in list(wanted.values())[:_OF_EACH]:
        try:
            release = session.verified_entry(entry)
            found.append(LoadedPatch.of(release.manifest, release.files.prefix))
        except PatchpmError as error:
            note(f"{entry.name} {entry.version} is not compared with: {error.what}")
    return found
