"""A release as a folder of three files, before it is in any registry."""

from __future__ import annotations

from pathlib import Path

from patchpm.errors import CannotError
from patchpm.patch.release import ATTESTATIONS, FILES, MANIFEST, MAX_BYTES, PREFIX, ReleaseFiles


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
