"""A typed, closed view of one parsed object (JSON or TOML): fields are asked for, what is left over is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from patchpm.errors import IntegrityError, PatchpmError
from patchpm.patch.digest import Digest

_T = TypeVar("_T")
_MISSING = object()
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ue000-\uf8ff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
# A fixed list, not Unicode's categories: those grow, and two versions of Python must read the same.


class Record:
    """Reads the fields of one object and knows where it is, so that every refusal names its place.

    Args:
        value: The parsed object.
        place: Where it stands: `manifest.json`, `patchpm.lock: release[2]`.
        code: Code of the errors raised.
        error: Class of the errors raised: `IntegrityError` for bytes from outside, `UsageError` for files people write.
    """

    def __init__(self, value: object, place: str, *, code: str, error: type[PatchpmError] = IntegrityError) -> None:
        self.place = place
        self._code = code
        self._error = error
        if not isinstance(value, Mapping):
            raise self.refuse("is not an object")
        self._value: Mapping[str, object] = value
        self._asked: set[str] = set()

    def refuse(self, why: str, key: str = "") -> PatchpmError:
        """Make the error for this object, or for its field `key`."""
        place = f"{self.place}: {key}" if key else self.place
        return self._error(self._code, f"{self.place.partition(':')[0]} is malformed", why=f"{place} {why}")

    def has(self, key: str) -> bool:
        """Whether the field is present and not null."""
        self._asked.add(key)
        return self._value.get(key) is not None

    def keys(self) -> tuple[str, ...]:
        """All keys, for objects used as maps."""
        return tuple(self._value)

    def text(self, key: str, *, pattern: str | None = None, max_length: int = 500, empty: bool = False) -> str:
        """A string without control, format or bidirectional characters, so that it is safe on any terminal."""
        value = self._field(key)
        if not isinstance(value, str):
            raise self.refuse("is not a string", key)
        if len(value) > max_length or (not value and not empty):
            raise self.refuse(f"has {len(value)} characters; 1 to {max_length} are allowed", key)
        if not is_printable(value):
            raise self.refuse("holds control or invisible characters", key)
        if pattern is not None and re.fullmatch(pattern, value, re.ASCII) is None:
            raise self.refuse(f"is {value[:80]!r}, which is not of the form {pattern}", key)
        return value

    def raw(self, key: str) -> object:
        """A value as it was parsed, for the few fields with a rule of their own."""
        return self._field(key)

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        """One of a closed list."""
        value = self.text(key)
        if value not in allowed:
            raise self.refuse(f"is {value[:80]!r}; known are {', '.join(allowed)}", key)
        return value

    def integer(self, key: str, *, low: int, high: int) -> int:
        """An integer in `low..high`."""
        value = self._field(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.refuse(f"is not an integer from {low} to {high}", key)
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._field(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.refuse("is not a number", key)
        return float(value)

    def flag(self, key: str) -> bool:
        """A boolean."""
        value = self._field(key)
        if not isinstance(value, bool):
            raise self.refuse("is neither true nor false", key)
        return value

    def digest(self, key: str) -> Digest:
        """A digest `sha256:…`."""
        return self.parse(key, Digest.parse, max_length=71)

    def parse(self, key: str, reader: Callable[[str], _T], *, max_length: int = 500) -> _T:
        """A string that `reader` turns into a value; its refusal is told as this object's."""
        text = self.text(key, max_length=max_length)
        try:
            return reader(text)
        except PatchpmError as error:
            raise self.refuse(f"is refused: {error.what}", key) from None

    def table(self, key: str) -> dict[str, object]:
        """An object as it was parsed, for handing on."""
        return dict(self.record(key)._value)

    def record(self, key: str) -> Record:
        """An object."""
        return self._nested(self._field(key), key)

    def records(self, key: str, *, max_items: int = 1000) -> Iterator[Record]:
        """A list of objects."""
        for number, item in enumerate(self._list(key, max_items)):
            yield self._nested(item, f"{key}[{number}]")

    def texts(self, key: str, *, max_items: int = 1000, max_length: int = 500) -> tuple[str, ...]:
        """A list of strings."""
        items = self._list(key, max_items)
        return tuple(
            self._nested({"item": item}, f"{key}[{number}]").text("item", max_length=max_length)
            for number, item in enumerate(items)
        )

    def done(self) -> None:
        """Refuse fields that nobody asked for."""
        surplus = sorted(set(self._value) - self._asked)
        if surplus:
            raise self.refuse(f"has unknown fields: {', '.join(repr(key[:80]) for key in surplus[:5])}")

    def _field(self, key: str) -> object:
        self._asked.add(key)
        value = self._value.get(key, _MISSING)
        if value is _MISSING:
            raise self.refuse("is missing", key)
        return value

    def _list(self, key: str, max_items: int) -> list[object]:
        value = self._field(key)
        if not isinstance(value, list):
            raise self.refuse("is not a list", key)
        if len(value) > max_items:
            raise self.refuse(f"has {len(value)} items; at most {max_items} are allowed", key)
        return value

    def _nested(self, value: object, key: str) -> Record:
        return Record(value, f"{self.place}: {key}", code=self._code, error=self._error)


def is_printable(text: str) -> bool:
    """Whether `text` holds no control, format (bidirectional among them), surrogate or private-use character."""
    return _UNPRINTABLE.search(text) is None
