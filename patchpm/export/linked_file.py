"""The same bytes under a second name, without copying them where the file system can.

A reflink shares the blocks until one side is written to, and the original does not notice. A hard link is the same
file: the time of change of the original moves, and who writes to one writes to both.
"""

from __future__ import annotations

import errno
import os
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Final

_FICLONE: Final = 0x40049409
_NO_LINK: Final = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


class Way(StrEnum):
    """How a file got its second name."""

    REFLINK = "reflink"
    HARD_LINK = "hard-link"
    COPY = "copy"


def link_or_copy(source: Path, target: Path, *, link: bool = True) -> Way:
    """Give the contents of `source` the name `target`.

    Args:
        source: Links are followed, as in the Hub's cache, where a model's files are links to blobs.
        target: Not there yet.
        link: Whether a hard link will do; a reflink always will.

    Raises:
        OSError: From reading or writing.
    """
    real = source.resolve()
    if _reflink(real, target):
        return Way.REFLINK
    if link:
        try:
            os.link(real, target)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
        else:
            return Way.HARD_LINK
    shutil.copyfile(real, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return Way.COPY


def _reflink(source: Path, target: Path) -> bool:
    try:
        from fcntl import ioctl
    except ImportError:  # no such call on this system
        return False
    with source.open("rb") as original, target.open("xb") as clone:
        try:
            ioctl(clone.fileno(), _FICLONE, original.fileno())
        except OSError:
            done = False
        else:
            done = True
    if not done:
        target.unlink()
    return done
