"""JSON as every patchpm format reads it: bounded, unambiguous, finite.

The standard library takes duplicate keys (the last one wins, so two readers may see two documents), NaN, and numbers
that overflow to infinity. Whatever comes from outside goes through `loads` before anything else looks at it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final, TypeAlias

from patchpm.errors import IntegrityError

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""What JSON can say."""

MAX_INTEGER: Final = 2**53 - 1
"""Largest integer that every language reads exactly."""


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class _RefusedError(ValueError):
    pass


def loads(data: bytes, *, source: str, max_bytes: int, max_depth: int = 32) -> JsonValue:
    """Parse one JSON document.

    Args:
        data: UTF-8 text without a byte order mark.
        source: What is being read, for the error: a file name.
        max_bytes: Largest size accepted.
        max_depth: Deepest nesting of lists and objects accepted.

    Raises:
        IntegrityError: `malformed-json` for bytes over the size, not UTF-8, not JSON, nested too deep, with a duplicate
            key, a number that is not finite, an integer beyond 2**53, or a string with unpaired surrogates.
    """
    if len(data) > max_bytes:
        raise _malformed(source, f"it has {len(data):,} bytes, and at most {max_bytes:,} are allowed")
    try:
        value: JsonValue = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_exact,
        )
    except RecursionError:
        raise _malformed(source, "it is nested too deep") from None
    except ValueError as error:
        raise _malformed(source, str(error)) from None
    _check(value, source, max_depth)
    return value


def dumps(value: JsonValue) -> bytes:
    """Write `value` in the one form that patchpm writes: two-space indent, keys in the given order, final newline."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode()


def compact(value: JsonValue) -> bytes:
    """Write `value` on one line with sorted keys: the form that is hashed and signed."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode()


def _malformed(source: str, why: str) -> IntegrityError:
    return IntegrityError("malformed-json", f"{source} is not acceptable JSON", why=why)


def _unique(pairs: list[tuple[str, JsonValue]]) -> JsonValue:
    found: dict[str, JsonValue] = {}
    for key, value in pairs:
        if key in found:
            raise _RefusedError(f"the key {key[:80]!r} stands twice in one object")
        found[key] = value
    return found


def _no_constant(text: str) -> JsonValue:
    raise _RefusedError(f"{text} is not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _RefusedError(f"{text[:80]} is too large")
    return value


def _exact(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise _RefusedError(f"the integer {text[:80]} is beyond 2**53")
    return int(text)


def _check(value: JsonValue, source: str, max_depth: int) -> None:
    level: list[JsonValue] = [value]
    depth = 0
    while level:
        deeper: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(item)
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
            elif isinstance(item, str) and _SURROGATE.search(item):
                raise _malformed(source, "a string holds an unpaired surrogate")
        level = deeper
        depth += 1
        if depth > max_depth + 1:
            raise _malformed(source, f"it is nested deeper than {max_depth} levels")
