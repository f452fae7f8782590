"""SHA-256 digests as a type, so that a bare hex string never travels."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from patchpm.errors import IntegrityError

_TEXT = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The SHA-256 of some bytes, written `sha256:<64 lowercase hex digits>` in every format."""

    hex: str
    """64 lowercase hexadecimal digits."""

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Hash `data`."""
        return cls(hashlib.sha256(data).hexdigest())

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read the written form.

        Raises:
            IntegrityError: `malformed-digest` for anything but `sha256:` and 64 lowercase hex digits.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise IntegrityError(
                "malformed-digest", f"{text[:80]!r} is not a digest", why="expected sha256: and 64 lowercase hex digits"
            )
        return cls(match[1])

    def __str__(self) -> str:
        return f"sha256:{self.hex}"
