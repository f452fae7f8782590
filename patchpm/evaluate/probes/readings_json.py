"""Readings as JSON, for the cache."""

from __future__ import annotations

from patchpm.evaluate.probes.reading import Readings
from patchpm.patch import strict_json
from patchpm.patch.record import Record
from patchpm.patch.strict_json import JsonValue

_SOURCE = "measured readings"
_MAX_BYTES = 64 << 20


def write_readings(readings: Readings) -> bytes:
    """The bytes of a file in the cache."""
    columns: dict[str, JsonValue] = {name: [*column] for name, column in readings.columns.items()}
    replies: list[JsonValue] = [[*ids] for ids in readings.replies]
    return strict_json.compact({"columns": columns, "replies": replies, "texts": [*readings.texts]})


def read_readings(data: bytes) -> Readings:
    """Read them back.

    Raises:
        IntegrityError: `malformed-json` or `malformed-readings`.
    """
    record = Record(strict_json.loads(data, source=_SOURCE, max_bytes=_MAX_BYTES), _SOURCE, code="malformed-readings")
    columns = record.record("columns")
    names = columns.keys()
    readings = Readings(
        {name: tuple(map(float, _numbers(columns, columns.raw(name)))) for name in names},
        replies=tuple(tuple(map(int, _numbers(record, ids))) for ids in _list(record, record.raw("replies"))),
        texts=tuple(_text(record, text) for text in _list(record, record.raw("texts"))),
    )
    record.done()
    if len({len(column) for column in readings.columns.values()}) != 1:
        raise record.refuse("has columns of several lengths", "columns")
    if any(others and len(others) != readings.items for others in (readings.replies, readings.texts)):
        raise record.refuse("has not one reply an item")
    return readings


def _list(record: Record, value: object) -> list[object]:
    if not isinstance(value, list):
        raise record.refuse("holds what is not a list")
    return value


def _numbers(record: Record, value: object) -> list[float]:
    numbers: list[float] = []
    for number in _list(record, value):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise record.refuse("holds what is not a number")
        numbers.append(number)
    return numbers


def _text(record: Record, value: object) -> str:
    if not isinstance(value, str):
        raise record.refuse("holds what is not a text")
    return value
