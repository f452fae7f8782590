"""`used.json`: which rows a prefix was trained on and what filtered them, so that no claim is measured on either."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from patchpm.patch import strict_json
from patchpm.patch.digest import Digest
from patchpm.patch.record import Record

FILE = "used.json"
"""Its name, beside `prefix.safetensors`."""
_MAX_BYTES = 64 << 20
_MOST_ROWS = 2_000_000
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Used:
    """What training saw."""

    filter: str
    """Name of the scorer that chose among texts; empty for none."""
    rows: frozenset[str]
    """`row_digest` of every row."""

    def __init__(self, filter: str, rows: Iterable[str]) -> None:
        object.__setattr__(self, "filter", filter)
        object.__setattr__(self, "rows", frozenset(rows))

    def write(self) -> bytes:
        """The bytes of the file; the same value always gives the same bytes."""
        rows: list[strict_json.JsonValue] = [*sorted(self.rows)]
        return strict_json.dumps({"filter": self.filter, "rows": rows})

    @classmethod
    def read(cls, data: bytes) -> Used:
        """Read the bytes of the file.

        Raises:
            IntegrityError: `malformed-json` or `malformed-used`.
        """
        record = Record(strict_json.loads(data, source=FILE, max_bytes=_MAX_BYTES), FILE, code="malformed-used")
        used = cls(
            filter=record.text("filter", max_length=300, empty=True),
            rows=record.texts("rows", max_items=_MOST_ROWS, max_length=_DIGITS),
        )
        record.done()
        return used


def row_digest(key: str) -> str:
    """What stands for a row: the first 16 hex digits of the SHA-256 of its `key`."""
    return Digest.of(key.encode()).hex[:_DIGITS]
