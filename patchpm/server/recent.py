"""What was asked for lately, kept in memory: for things that never change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values that were used last, up to a weight in all. Safe to share among threads.

    Args:
        room: Greatest weight of all values together.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._weight = 0
        self._kept: OrderedDict[Key, tuple[int, Value]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key) -> Value | None:
        """The value of a key, if it is still here."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[1]

    def keep(self, key: Key, value: Value, weight: int = 1) -> None:
        """Remember a value, and forget those that were not used for longest."""
        with self._lock:
            if key in self._kept or weight > self._room:
                return
            self._kept[key] = weight, value
            self._weight += weight
            while self._weight > self._room:
                self._weight -= self._kept.popitem(last=False)[1][0]
