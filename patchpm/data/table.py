"""A TOML table of a recipe or a suite, read key by key, so that what is left over is an error."""

from __future__ import annotations

import re
import sys
from typing import Any

from patchpm.errors import UsageError


class Table:
    """One TOML table; every key is taken once, and `close` refuses the rest."""

    def __init__(self, values: dict[str, Any], path: str) -> None:
        self._left = dict(values)
        self._path = path

    def integer(self, key: str, *, low: int | None = None, high: int | None = None, default: int | None = None) -> int:
        """A whole number within `low..high`."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key, value, "a whole number")
        if (low is not None and value < low) or (high is not None and value > high):
            raise self._wrong(key, value, f"at least {low}" if high is None else f"from {low} to {high}")
        return value

    def number(self, key: str, *, low: float, high: float = sys.float_info.max, default: float | None = None) -> float:
        """A finite number within `low..high`."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self._wrong(key, value, f"a number of at least {low:g}" if high > 1 else f"from {low:g} to {high:g}")
        return float(value)

    def text(self, key: str, *, default: str | None = None, empty: bool = False) -> str:
        """A string; an empty one only if `empty` says so."""
        value = self._take(key, default)
        if not isinstance(value, str) or not (value or empty or value == default):
            raise self._wrong(key, value, "a text")
        return value

    def texts(self, key: str, *, empty: bool = False) -> tuple[str, ...]:
        """One or more strings; none, or a missing key, only if `empty` says so."""
        value = self._take(key, [] if empty else None)
        if (
            not isinstance(value, list)
            or not (value or empty)
            or not all(isinstance(item, str) and item for item in value)
        ):
            raise self._wrong(key, value, "a list of texts")
        return tuple(value)

    def text_or_texts(self, key: str) -> tuple[str, ...]:
        """One string, several, or none where the key is missing."""
        value = self._left.get(key)
        if value is None:
            return ()
        return (self.text(key),) if isinstance(value, str) else self.texts(key)

    def flag(self, key: str) -> bool:
        """True or false; false where the key is missing."""
        value = self._take(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def choice(self, key: str, choices: tuple[str, ...], *, default: str | None = None) -> str:
        """One of a few words."""
        value = self._take(key, default)
        if value not in choices:
            raise self._wrong(key, value, f"one of {', '.join(choices)}")
        return str(value)

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """A table of texts as key and value, sorted; empty where the key is missing."""
        if key not in self._left:
            return ()
        value = self._take(key, None)
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self._wrong(key, value, "a table of texts")
        return tuple(sorted(value.items()))

    def has(self, key: str) -> bool:
        """Whether the table has a key that was not taken yet."""
        return key in self._left

    def pattern(self, key: str) -> re.Pattern[str] | None:
        """A regular expression, or None where the key is missing."""
        if key not in self._left:
            return None
        source = self.text(key)
        try:
            return re.compile(source)
        except re.error as error:
            raise self._wrong(key, source, f"a regular expression ({error})") from error

    def table(self, key: str) -> Table:
        """A table within."""
        value = self._take(key, None)
        if not isinstance(value, dict):
            raise self._wrong(key, value, "a table")
        return Table(value, f"{self._path}{key}.")

    def optional_table(self, key: str) -> Table:
        """A table within; an empty one where the key is missing."""
        return self.table(key) if key in self._left else Table({}, f"{self._path}{key}.")

    def tables(self, key: str) -> list[Table]:
        """An array of tables."""
        value = self._take(key, None)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong(key, value, "an array of tables")
        return [Table(item, f"{self._path}{key}[{number}].") for number, item in enumerate(value)]

    def close(self) -> None:
        """Refuse what was not asked for.

        Raises:
            UsageError: `invalid-recipe`.
        """
        if self._left:
            names = ", ".join(f"{self._path}{key}" for key in self._left)
            raise UsageError("invalid-recipe", "the recipe has keys that patchpm does not know", why=names)

    def _take(self, key: str, default: Any) -> Any:
        value = self._left.pop(key, default)
        if value is None:
            raise UsageError("invalid-recipe", f"the recipe has no {self._path}{key}")
        return value

    def _wrong(self, key: str, value: object, wanted: str) -> UsageError:
        return UsageError("invalid-recipe", f"{self._path}{key} must be {wanted}", why=f"it is {value!r}"[:300])
