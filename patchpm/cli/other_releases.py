"""The releases that a server may have in place of the locked ones: an export of last month, or of a newer lock."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Final

from patchpm.cli.output import note
from patchpm.cli.session import Session
from patchpm.errors import PatchpmError
from patchpm.model.loaded import LoadedPatch, PatchSet
from patchpm.patch.fingerprint import Fingerprint

_OF_EACH: Final = 3
_OF_ALL: Final = 12
"""Each costs the base a pass over all conversations."""


def other_releases(session: Session, base: Fingerprint, patches: PatchSet) -> tuple[LoadedPatch, ...]:
    """The newest other releases of each patch of a set, verified: yanked ones too, and newer ones than the locked.

    At most three of each patch and twelve in all. A release with the prefix of one that is there already is passed
    over, since no answer tells the two apart. So is, with a note, what cannot be fetched or is refused: a set is probed
    without a network too.

    Args:
        session: Whose registries are asked.
        base: What the releases must be made for.
        patches: The locked set.
    """
    found: list[list[LoadedPatch]] = []
    for patch in patches.patches:
        try:
            entries = session.catalogue.entries(patch.name)
        except PatchpmError as error:
            note(f"other releases of {patch.name} are not known: {error.what}")
            continue
        seen = {patch.digest}
        mine: list[LoadedPatch] = []
        for entry in sorted(entries, key=lambda entry: entry.version, reverse=True):
            fits = patches.anchor in entry.anchors and entry.base.match(base) is not None
            if not fits or entry.prefix.digest in seen or len(mine) == _OF_EACH:
                continue
            try:
                release = session.verified_entry(entry)
            except PatchpmError as error:
                note(f"{entry.name} {entry.version} is not compared with: {error.what}")
                continue
            seen.add(entry.prefix.digest)
            mine.append(LoadedPatch.of(release.manifest, release.files.prefix))
        found.append(mine)
    # The newest of each comes first, so that a patch with many releases does not crowd out the others.
    by_age = chain.from_iterable(zip_longest(*found))
    return tuple(release for release in by_age if release is not None)[:_OF_ALL]
