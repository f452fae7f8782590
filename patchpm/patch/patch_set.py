"""Identity of a patch set: the ordered releases that run together."""

from __future__ import annotations

from collections.abc import Iterable

from patchpm.patch.digest import Digest
from patchpm.patch.name import PatchName
from patchpm.patch.strict_json import JsonValue, compact
from patchpm.patch.version import Version


def set_digest(anchor: str, members: Iterable[tuple[PatchName, Version, Digest]]) -> Digest:
    """The digest that names a patch set, one value for a serving host to check.

    SHA-256 over the line `patchpm-set-v1` and the compact JSON `[anchor, [[name, version, prefix digest], ...]]`,
    members in the order in which they stand at the anchor.

    Args:
        anchor: Where the set is applied.
        members: Name, version and digest of `prefix.safetensors` of each release, in order.
    """
    rows: list[JsonValue] = [[str(name), str(version), str(prefix)] for name, version, prefix in members]
    return Digest.of(b"patchpm-set-v1\n" + compact([anchor, rows]))
