"""Other measured prefixes, to set a report beside: earlier releases, other seeds, other recipes."""

from __future__ import annotations

from dataclasses import dataclass

from patchpm.evaluate.results import MAX_BYTES, Results, results_from
from patchpm.patch import strict_json
from patchpm.patch.manifest import Claim
from patchpm.patch.manifest_json import claims_from
from patchpm.patch.record import Record


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured of one prefix."""

    name: str
    """What a reader shall call it."""
    claims: tuple[Claim, ...]
    base: str | None = None
    """Name of the base model; None where the file does not say."""

    @classmethod
    def of(cls, results: Results) -> Run:
        """The run that a report is about."""
        return cls(results.title, results.claims, results.base)


def read_run(name: str, data: bytes, source: str) -> Run:
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
        return Run(name, claims_from(Record({"claims": value}, source, code="malformed-claims")))
    results = results_from(value, source)
    return Run(name, results.claims, results.base)
