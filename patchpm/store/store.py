"""The local store: release files by their SHA-256, shared by all projects of a user.

A file appears under its digest by one rename, complete or not at all, so concurrent installs need no lock and a
killed one leaves nothing but a temporary file. Every read hashes what it read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from patchpm.atomic_write import TEMPORARY_SUFFIX, explained, write_atomic
from patchpm.errors import CannotError, IntegrityError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.patch.release import FILES, ReleaseFiles
from patchpm.trust.release import VerifiedRelease

_OLD_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Usage:
    """What the store holds."""

    files: int
    size: int
    """In bytes."""


class Store:
    """Content-addressed files under one folder.

    Args:
        root: The store's folder; made on the first write, private to the user.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, release: VerifiedRelease) -> None:
        """Keep a verified release. Files that are there already are left alone.

        Raises:
            CannotError: `disk-full`, `read-only` or `cannot-write`.
        """
        if not self.root.is_dir():
            with explained(self.root):
                self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for _, data in release.files.items():
            digest = Digest.of(data)
            if self._read(FileRef(len(data), digest)) != data:
                write_atomic(self._path(digest), data)

    def get(self, manifest: FileRef, prefix: FileRef, attestations: FileRef) -> ReleaseFiles | None:
        """The three files with these digests, hashed just now, or None if one is not here.

        Raises:
            IntegrityError: `store-corrupt` where a file is not what its name says.
        """
        found = [self._checked(name, ref) for name, ref in zip(FILES, (manifest, prefix, attestations), strict=True)]
        if found[0] is None or found[1] is None or found[2] is None:
            return None
        return ReleaseFiles(found[0], found[1], found[2])

    def damaged(self) -> Iterator[Path]:
        """Every file that is not what its name says."""
        for path in self._files():
            if path.is_symlink() or Digest.of(path.read_bytes()).hex != path.name:
                yield path

    def discard(self, path: Path) -> None:
        """Delete one file of the store, as `patchpm cache verify --repair` does with a damaged one."""
        with explained(path):
            path.unlink(missing_ok=True)

    def usage(self) -> Usage:
        """Count what is here."""
        sizes = [path.stat().st_size for path in self._files()]
        return Usage(len(sizes), sum(sizes))

    def clean(self) -> Usage:
        """Delete every release, and temporary files of writers that died. Returns what there was.

        A writer that is at work is not disturbed: its temporary file is younger than a day.
        """
        before = self.usage()
        for path in self._files():
            self.discard(path)
        for path in self.root.glob(f"sha256/*/.*{TEMPORARY_SUFFIX}"):
            if time.time() - path.stat().st_mtime > _OLD_SECONDS:
                self.discard(path)
        return before

    def _path(self, digest: Digest) -> Path:
        return self.root / "sha256" / digest.hex[:2] / digest.hex

    def _files(self) -> list[Path]:
        return sorted(path for path in self.root.glob("sha256/??/*") if path.is_symlink() or _is_file(path))

    def _checked(self, name: str, ref: FileRef) -> bytes | None:
        data = self._read(ref)
        if data is not None and (len(data) != ref.size or Digest.of(data) != ref.digest):
            raise IntegrityError(
                "store-corrupt",
                f"{name} in the store is not what it was",
                why=f"{self._path(ref.digest)} has {len(data):,} bytes or more with the digest {Digest.of(data)}",
                next="run `patchpm cache verify --repair`, then `patchpm install`",
            )
        return data

    def _read(self, ref: FileRef) -> bytes | None:
        path = self._path(ref.digest)
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                return file.read(ref.size + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CannotError(
                "unreadable-file", "a file of the store cannot be read", why=f"{path}: {error.strerror}"
            ) from None


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")
