"""The bytes of all repositories, by their SHA-256, in a folder or a bucket.

The same bytes are kept once, and a race to write them is harmless.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from patchpm.atomic_write import explained, sync_folder, write_atomic
from patchpm.errors import NetworkError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PIECE: Final = 1024 * 1024
_LINK_SECONDS: Final = timedelta(minutes=10)
_ABANDONED_SECONDS: Final = 24 * 3600


class Blobs(Protocol):
    """Bytes by digest."""

    def put(self, sha256: str, data: bytes) -> None:
        """Keep some bytes; they survive a power cut once this returns."""

    def put_file(self, sha256: str, file: Path) -> None:
        """Keep the bytes of a file from `staging`, which may be moved away."""

    def size(self, sha256: str) -> int | None:
        """How many bytes there are of that digest; None for none."""

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, in pieces.

        Raises:
            FileNotFoundError: There are none.
        """

    def link(self, sha256: str) -> str | None:
        """An address elsewhere that gives the bytes to anyone for some minutes; None where there is none."""

    def staging(self) -> Path:
        """A local folder for uploads that are on their way."""

    def check(self) -> None:
        """Raise whatever comes up if the store cannot be used."""


class FolderBlobs:
    """Blobs in a folder, as `<first two digits>/<digest>`.

    Args:
        root: The folder; it is made.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        with explained(root):
            self.staging().mkdir(parents=True, exist_ok=True)
        self._drop_abandoned()

    def put(self, sha256: str, data: bytes) -> None:
        """See `Blobs.put`."""
        path = self._path(sha256)
        if path.exists():
            sync_folder(path.parent)  # whoever wrote it may not have come that far
        else:
            self._make_room(path)
            write_atomic(path, data)

    def put_file(self, sha256: str, file: Path) -> None:
        """See `Blobs.put_file`."""
        path = self._path(sha256)
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
        self._make_room(path)
        file.replace(path)
        sync_folder(path.parent)

    def size(self, sha256: str) -> int | None:
        """See `Blobs.size`."""
        try:
            return self._path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """See `Blobs.read`."""
        with self._path(sha256).open("rb", buffering=0) as file:
            file.seek(start)
            while start < end and (piece := file.read(min(PIECE, end - start))):
                start += len(piece)
                yield piece

    def link(self, sha256: str) -> str | None:  # noqa: ARG002  # a folder has no address for any of them
        """See `Blobs.link`: a folder has no address."""
        return None

    def staging(self) -> Path:
        """See `Blobs.staging`."""
        return self._root / "staging"

    def check(self) -> None:
        """See `Blobs.check`."""
        if not os.access(self.staging(), os.W_OK):
            raise FileNotFoundError(self.staging())

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256

    def _drop_abandoned(self) -> None:
        """Remove uploads that servers left behind when they were killed."""
        for file in self.staging().iterdir():
            with suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > _ABANDONED_SECONDS:
                    file.unlink()

    def _make_room(self, path: Path) -> None:
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            sync_folder(self._root)


class BucketBlobs:
    """Blobs in a bucket, as `blobs/<first two digits>/<digest>`.

    Args:
        store: The bucket, or what is below a prefix in it.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._staging = tempfile.TemporaryDirectory(prefix="patchpm-uploads-")

    def put(self, sha256: str, data: bytes) -> None:
        """See `Blobs.put`."""
        self._store.put(self._path(sha256), data)

    def put_file(self, sha256: str, file: Path) -> None:
        """See `Blobs.put_file`."""
        self._store.put(self._path(sha256), file)
        file.unlink()

    def size(self, sha256: str) -> int | None:
        """See `Blobs.size`."""
        try:
            return int(self._store.head(self._path(sha256))["size"])
        except FileNotFoundError:
            return None

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """See `Blobs.read`."""
        if start == end:
            return
        found = self._store.get(self._path(sha256), options={"range": (start, end)})
        for piece in found.stream(min_chunk_size=PIECE):
            yield bytes(piece)

    def link(self, sha256: str) -> str | None:
        """See `Blobs.link`: signed by the credentials of the server, where the store can do that."""
        from obstore import sign
        from obstore.store import AzureStore, GCSStore, S3Store

        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        return str(sign(self._store, "GET", self._path(sha256), _LINK_SECONDS))

    def staging(self) -> Path:
        """See `Blobs.staging`."""
        return Path(self._staging.name)

    def check(self) -> None:
        """See `Blobs.check`: that an object is missing says nothing of the bucket, so it is listed."""
        for _ in self._store.list("blobs", chunk_size=1):
            break

    def _path(self, sha256: str) -> str:
        return f"blobs/{sha256[:2]}/{sha256}"


def open_blobs(where: str) -> Blobs:
    """The blobs at an absolute path, or at an `s3:`, `gs:` or `az:` address.

    Raises:
        UsageError: `unsupported-registry`.
        CannotError: `extra-missing`.
        NetworkError: `unreachable`.
    """
    if "://" not in where:
        return FolderBlobs(Path(where))
    from patchpm.registry.bucket import open_store

    blobs = BucketBlobs(open_store(where))
    from obstore.exceptions import BaseError

    try:
        blobs.check()
    except BaseError as error:
        why = str(error).split("\n", 1)[0][:300]
        raise NetworkError("unreachable", "the bucket cannot be used", why=why) from None
    return blobs
