"""Where a tensor lies in a file, and hashing many side by side: each byte is read once, and never a whole tensor."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from patchpm.errors import CannotError, IntegrityError
from patchpm.model.weights_digest import TensorDigest, TensorHasher

Progress = Callable[[int, int], None]
"""Called now and then, in the caller's thread, with bytes done and bytes in all."""

_CHUNK: Final = 1 << 20
_MOST_THREADS: Final = 16


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a weight file."""

    name: str
    dtype: str
    """As the file's format names it."""
    shape: tuple[int, ...]
    """In the file's order."""
    path: Path
    offset: int
    """First byte, from the start of the file."""
    size: int
    """In bytes."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the operating system says about `path` into an error of patchpm.

    Raises:
        CannotError: `unreadable-file`.
    """
    try:
        yield
    except OSError as error:
        raise CannotError("unreadable-file", f"{path} cannot be read", why=error.strerror or str(error)) from error


def hash_tensors(
    tensors: Sequence[StoredTensor], *, bf16: bool, progress: Progress | None = None
) -> tuple[TensorDigest, ...]:
    """Hash tensors in as many threads as there are cores.

    Memory: about one MiB a thread, four where numbers are rounded, whatever the size of the tensors.

    Args:
        tensors: What to hash, from any number of files.
        bf16: Also hash the numbers rounded to bfloat16.
        progress: Told about ten times a second.

    Returns:
        A digest for each tensor, in no particular order.

    Raises:
        IntegrityError: `truncated-weights` if a file ends early.
        CannotError: `unreadable-file`.
    """
    job = _Job(tensors, bf16)
    total = sum(tensor.size for tensor in tensors)
    threads = min(cores(), _MOST_THREADS)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="patchpm-hash")
    try:
        running = [pool.submit(job.work) for _ in range(threads)]
        while True:
            done, left = wait(running, timeout=0.1, return_when=FIRST_EXCEPTION)
            for worker in done:
                worker.result()
            if progress:
                progress(job.done, total)
            if not left:
                return tuple(job.digests)
    finally:
        job.stopped = True
        pool.shutdown()


class _Job:
    """What the threads share. Appending, popping and reading a flag are atomic; the count of bytes takes the lock."""

    def __init__(self, tensors: Sequence[StoredTensor], bf16: bool) -> None:
        self.digests: list[TensorDigest] = []
        self.done = 0
        self.stopped = False
        self._bf16 = bf16
        self._lock = threading.Lock()
        # The largest first, so that no thread is left alone with one at the end.
        self._todo = deque(sorted(tensors, key=lambda tensor: -tensor.size))

    def work(self) -> None:
        while not self.stopped:
            try:
                tensor = self._todo.popleft()
            except IndexError:
                return
            hasher = TensorHasher(tensor.dtype, bf16=self._bf16)
            with reading(tensor.path), tensor.path.open("rb", buffering=0) as file:
                self._feed(hasher, tensor, file.fileno())
            self.digests.append(hasher.finish(tensor.name, tensor.dtype, tensor.shape))

    def _feed(self, hasher: TensorHasher, tensor: StoredTensor, file: int) -> None:
        done = 0
        while done < tensor.size and not self.stopped:
            chunk = read_exactly(file, min(_CHUNK, tensor.size - done), tensor.offset + done, tensor.path)
            hasher.update(chunk)
            done += len(chunk)
            with self._lock:
                self.done += len(chunk)


def read_exactly(file: int, size: int, offset: int, path: Path) -> bytes:
    """Read `size` bytes at `offset` of an open file.

    Args:
        file: Its descriptor.
        size: In bytes.
        offset: From the start of the file.
        path: Its name, for the error.

    Raises:
        IntegrityError: `truncated-weights` where the file ends before.
    """
    chunk = os.pread(file, size, offset)
    while len(chunk) < size:
        more = os.pread(file, size - len(chunk), offset + len(chunk))
        if not more:
            raise truncated(path, f"it ends at byte {offset + len(chunk):,}, and byte {offset + size:,} is needed")
        chunk += more
    return chunk


def truncated(path: Path, why: str) -> IntegrityError:
    """The error for a weight file that is shorter than it says it is."""
    return IntegrityError(
        "truncated-weights", f"{path} is cut off", why=why, next="download the file again: a part of it is missing"
    )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
