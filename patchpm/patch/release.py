"""The three files of a release, as bytes that nobody has vouched for yet."""

from __future__ import annotations

from dataclasses import dataclass

MANIFEST = "manifest.json"
PREFIX = "prefix.safetensors"
ATTESTATIONS = "attestations.jsonl"
FILES = (MANIFEST, PREFIX, ATTESTATIONS)
"""Everything a release consists of; nothing else is ever read."""

MAX_BYTES = {MANIFEST: 256 * 1024, PREFIX: 8 * 1024 * 1024, ATTESTATIONS: 1024 * 1024}
"""Largest size of each file."""


@dataclass(frozen=True, slots=True)
class ReleaseFiles:
    """The bytes of one release. Unverified: only `patchpm.trust.release` makes a verified release of them."""

    manifest: bytes
    prefix: bytes
    attestations: bytes

    def items(self) -> tuple[tuple[str, bytes], ...]:
        """File names with their bytes, in the order of `FILES`."""
        return ((MANIFEST, self.manifest), (PREFIX, self.prefix), (ATTESTATIONS, self.attestations))
