"""Finding and measuring the base models of a project, as its file names them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from patchpm.cli.output import progress

if TYPE_CHECKING:
    from patchpm.model.fingerprint import Measured


def located(location: str, folder: Path) -> Path | str:
    """A base's location as the fingerprint room takes it: `hf:` names as they are, paths relative to the project."""
    if location.startswith("hf:"):
        return location
    return folder / at_home(location)


def at_home(path: str) -> Path:
    """A path with `~` in it; the home of an unknown user stays as it is, where `Path.expanduser` would raise."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # see above


def measure(location: str, folder: Path, *, rehash: bool = False) -> Measured:
    """Fingerprint a base, from the cache of hashed files where they did not change."""
    from patchpm.model.fingerprint import fingerprint
    from patchpm.model.hash_cache import HashCache

    with progress(f"hashing {location}", unit="bytes") as advance:
        return fingerprint(located(location, folder), cache=HashCache.of_user(), rehash=rehash, progress=advance)
