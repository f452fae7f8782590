"""A registry in a folder: on a disk, a share, a stick, or behind any web server.

Writers hold a lock file. A commit is first written down as a whole in `.commit/` and then moved into place, so a writer
that is killed leaves either nothing or a commit that the next writer finishes. Readers need no lock and no right to
write. No symbolic link below the folder is followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from patchpm.atomic_write import explained, sync_folder
from patchpm.errors import CannotError, NetworkError, UsageError
from patchpm.registry.host import Change, check_path, conflict, too_large

HEAD: Final = "metadata/timestamp.json"
"""Every commit changes this file, so its digest is the revision."""
_COMMIT: Final = ".commit"
_STAGING: Final = ".staging"
_LOCK: Final = ".lock"
_PLAN: Final = "plan.json"
_LOCK_SECONDS: Final = 120.0
_MAX_HEAD_BYTES: Final = 1024 * 1024


class FolderHost:
    """The files of a registry under one folder.

    Args:
        root: The folder. It is made by the first commit.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.root)

    @property
    def is_local(self) -> bool:
        """See `Host.is_local`."""
        return True

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """See `Host.read`."""
        segments = check_path(path)
        try:
            with _opened(self.root, segments[:-1]) as folder:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                with os.fdopen(os.open(segments[-1], flags, dir_fd=folder), "rb") as file:
                    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                        raise self._unreachable(path, "it is not a regular file")
                    data = file.read(max_bytes + 1)
        except FileNotFoundError:
            if self.root.is_dir():
                return None
            raise self._unreachable(path, "there is no such folder") from None
        except OSError as error:
            raise self._unreachable(path, error.strerror or str(error)) from None
        if len(data) > max_bytes:
            raise too_large(path, max_bytes)
        return data

    def head(self) -> str:
        """See `Host.head`; finishes the commit of a writer that was killed, if there is one."""
        with self._locked():
            return self._head()

    def commit(self, changes: Sequence[Change], expect: str) -> None:
        """See `Host.commit`."""
        with self._locked():
            if self._head() != expect:
                raise conflict(self.where)
            self._stage(changes)
            self._finish()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with explained(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                with _held(self.root / _LOCK):
                    if (self.root / _COMMIT).is_dir():
                        self._finish()
                    yield
        except CannotError as error:
            if error.code == "read-only":
                error.next = "ask whoever owns the folder for the right to write there"
            raise

    def _head(self) -> str:
        try:
            data = self.read(HEAD, _MAX_HEAD_BYTES)
        except NetworkError as error:
            raise CannotError("cannot-write", "the registry cannot be read before writing", why=error.why) from None
        return "" if data is None else hashlib.sha256(data).hexdigest()

    def _stage(self, changes: Sequence[Change]) -> None:
        staging = self.root / _STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        plan = ["/".join(check_path(path)) for path, _ in changes]
        for path in plan:  # what cannot be moved into place later must fail now, while nothing is decided
            with _opened(self.root, path.split("/")[:-1], make=True):
                pass
        files = [(str(number), data) for number, (_, data) in enumerate(changes)]
        for name, data in [*files, (_PLAN, json.dumps(plan).encode())]:
            with (staging / name).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(staging)
        staging.rename(self.root / _COMMIT)
        sync_folder(self.root)

    def _finish(self) -> None:
        commit = self.root / _COMMIT
        for number, path in enumerate(json.loads((commit / _PLAN).read_bytes())):
            *folders, name = check_path(path)
            with _opened(self.root, folders, make=True) as folder:
                try:
                    os.rename(commit / str(number), name, dst_dir_fd=folder)  # within an open folder
                except FileNotFoundError:
                    continue  # moved already, by a writer that was killed before it got to the end
                os.fsync(folder)
        # Taken away in one step: without its plan a half-deleted commit could not be read by the next writer.
        shutil.rmtree(self.root / _STAGING, ignore_errors=True)
        commit.rename(self.root / _STAGING)
        sync_folder(self.root)
        shutil.rmtree(self.root / _STAGING)

    def _unreachable(self, path: str, why: str) -> NetworkError:
        return NetworkError(
            "unreachable",
            "the registry cannot be read",
            why=f"{self.root}: {path}: {why}",
            next="check the registry's address with `patchpm trust show`",
        )


def open_folder(url: str) -> FolderHost:
    """The host of an absolute path or a `file:` address.

    Raises:
        UsageError: `unsupported-registry` for any other address.
    """
    path = url
    if url.startswith("file:"):
        parts = urlsplit(url)
        path = unquote(parts.path) if parts.netloc in ("", "localhost") and not parts.query else ""
    if not Path(path).expanduser().is_absolute():
        raise UsageError(
            "unsupported-registry",
            f"{url[:200]!r} is no address of a registry",
            why="a registry is at an absolute path, or at file:///..., https://..., s3://..., gs://..., az://... or hf://...",
        )
    return FolderHost(Path(path).expanduser())


@contextmanager
def _held(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise CannotError(
            "registry-busy",
            "another process is writing to the registry",
            why=f"{path} was held for {_LOCK_SECONDS:.0f} s",
            next="run it again later",
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _opened(root: Path, segments: Sequence[str], *, make: bool = False) -> Iterator[int]:
    # One folder at a time, so that no symbolic link on the way is followed.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    handle = os.open(root, flags)
    try:
        for segment in segments:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(segment, dir_fd=handle)  # within an open folder
                    os.fsync(handle)
            deeper = os.open(segment, flags | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = deeper
        yield handle
    finally:
        os.close(handle)
