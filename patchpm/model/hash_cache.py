"""What was hashed before, so that a model whose files did not change is not hashed again.

A record belongs to a set of files, each known by device, inode, size, time of modification and time of change in
nanoseconds. The time of modification alone can be set back by anyone (`os.utime`); doing so sets the time of change.
What is found here has assurance `cached`: good against accidents, and not against someone who can write to the user's
own cache or clock.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from patchpm.errors import IntegrityError
from patchpm.model.stored_tensor import reading
from patchpm.patch import strict_json
from patchpm.patch.digest import Digest
from patchpm.settings import Folders

FileState = tuple[int, int, int, int, int]
"""Device, inode, size, time of modification and time of change in nanoseconds."""
_FORMAT: Final = "patchpm-hashes-v1"
_MAX_RECORD: Final = 4096
# Times of files move in ticks (10 ms, 2 s on some file systems). A file that changed this shortly before it was
# hashed could change again without showing it.
_SETTLED: Final = 2_000_000_000


def state_of(paths: Iterable[Path]) -> tuple[FileState, ...]:
    """The state of files, links followed, in the given order.

    Raises:
        CannotError: `unreadable-file`.
    """
    states = []
    for path in paths:
        with reading(path):
            found = path.stat()
        states.append((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return tuple(states)


class HashCache:
    """Records in a folder, one small file each: written in one step, so writers need no lock, and each fails alone."""

    def __init__(self, folder: Path, *, now: Callable[[], int] = time.time_ns) -> None:
        """Use `folder`, which is made when the first record is written. `now` is in nanoseconds since 1970."""
        self.folder = folder
        self._now = now

    @classmethod
    def of_user(cls) -> HashCache:
        """The cache that all of the user's projects share."""
        return cls(Folders.of_user().cache / "hashes")

    def get(self, kind: str, state: tuple[FileState, ...]) -> dict[str, strict_json.JsonValue] | None:
        """Look a record up; one that is damaged counts as missing, so that the files are hashed again.

        Args:
            kind: What was found out: `safetensors`, `gguf` or `tokenizer`.
            state: Of the files it was found out from.
        """
        try:
            data = self._path(kind, state).read_bytes()
        except OSError:
            return None
        checksum, _, body = data.partition(b"\n")
        if checksum.decode("ascii", "replace") != str(Digest.of(body)):
            return None
        try:
            record = strict_json.loads(body, source="record", max_bytes=_MAX_RECORD)
        except IntegrityError:
            return None
        return record if isinstance(record, dict) else None

    def put(
        self, kind: str, state: tuple[FileState, ...], record: dict[str, strict_json.JsonValue], began: int
    ) -> bool:
        """Keep a record; say whether it was kept.

        It is not kept for files that changed within two seconds before hashing began, nor where the folder cannot be
        written: then the files are hashed again next time, which costs time and nothing else.

        Args:
            kind: As for `get`.
            state: As it was before the files were read and still is.
            record: What was found out.
            began: When hashing began, in nanoseconds since 1970.
        """
        if any(began - max(modified, changed) < _SETTLED for _, _, _, modified, changed in state):
            return False
        return self._keep(kind, state, record)

    def carry(self, kind: str, before: tuple[FileState, ...], after: tuple[FileState, ...]) -> bool:
        """Keep what is known of files that got another name (a hard link), which moves their time of change only.

        Args:
            kind: As for `get`.
            before: State of the files before the link was made.
            after: And after it. Who wrote to one of the files meanwhile moved its time of modification.

        Returns:
            Whether there was a record, and nothing but times of change had moved.
        """
        record = self.get(kind, before)
        if record is None or [state[:4] for state in before] != [state[:4] for state in after]:
            return False
        return self._keep(kind, after, record)

    def now(self) -> int:
        """Nanoseconds since 1970."""
        return self._now()

    def _keep(self, kind: str, state: tuple[FileState, ...], record: dict[str, strict_json.JsonValue]) -> bool:
        body = strict_json.compact(record)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(f"{Digest.of(body)}\n".encode() + body)
                Path(name).replace(self._path(kind, state))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return False
        return True

    def _path(self, kind: str, state: tuple[FileState, ...]) -> Path:
        key = hashlib.sha256(f"{_FORMAT} {kind} {state}".encode()).hexdigest()
        return self.folder / f"{key}.json"
