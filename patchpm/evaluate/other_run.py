"""Other measured prefixes, to set a report beside: earlier releases, other seeds, other recipes."""

from __future__ import annotations

from dataclasses import dataclass

from patchpm.evaluate.results import MAX_BYTES, read_results
from patchpm.patch import strict_json
from patchpm.patch.manifest import Claim
from patchpm.patch.manifest_json import claims_from
from patchpm.patch.record import Record


@dataclass(frozen=True, slots=True)
class OtherRun:
    """What was measured of one prefix."""

    name: str
    """What a reader shall call it."""
    claims: tuple[Claim, ...]


def read_other_run(name: str, data: bytes, source: str) -> OtherRun:
    """Read what `patchpm evaluate` wrote with `--out` or with `--results`.

    Args:
        name: What a reader shall call it.
        data: The bytes of the file.
        source: What errors call the file.

    Raises:
        IntegrityError: `malformed-json`, `malformed-claims` or `malformed-results`.
    """
    value = strict_json.loads(data, source=source, max_bytes=MAX_BYTES)
    if isinstance(value, list):
        return OtherRun(name, claims_from(Record({"claims": value}, source, code="malformed-claims")))
    return OtherRun(name, read_results(data, source).claims)
