"""A stream of server-sent events on its way through: passed on as it is, read only where it says what was counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

_DONE: Final = b"data: [DONE]"
_ENDS: Final = (b"\n\n", b"\r\n\r\n")
_LONGEST_EVENT: Final = 16 * 1024 * 1024


class BrokenStreamError(Exception):
    """What the engine sends is no stream of events."""


@dataclass
class EventStream:
    """Splits bytes into whole events, and keeps back the usage that the client did not ask for.

    The end, `[DONE]`, is kept back as well, with all that follows: what comes last is said once the count is known.
    """

    hide_usage: bool
    """Whether the event that only says the usage is ours."""
    prompt_tokens: int | None = None
    """What the engine counted."""
    done: bool = False
    """Whether the engine said that this is all."""
    failed: bool = False
    """Whether the engine said that it failed."""
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> bytes:
        """What of the stream may be passed on now.

        Raises:
            BrokenStreamError: For an event without an end.
        """
        if self.done:
            return b""
        seen = max(0, len(self._rest) - len(_ENDS[-1]) + 1)
        self._rest += data
        found = [(self._rest.rfind(mark, seen), len(mark)) for mark in _ENDS]
        end = max((place + size for place, size in found if place >= 0), default=0)
        whole = bytes(self._rest[:end])
        del self._rest[:end]
        if len(self._rest) > _LONGEST_EVENT:
            raise BrokenStreamError("an event without an end")
        if b'"usage"' not in whole and b"[DONE]" not in whole and b'"error"' not in whole:
            return whole
        return b"".join(event for event in _events(whole) if self._passes(event))

    def _passes(self, event: bytes) -> bool:
        if self.done:
            return False
        text = event.strip()
        if text == _DONE:
            self.done = True
            return False
        found = _json(text)
        if not isinstance(found, dict):
            return True
        if found.get("error"):
            self.failed = True
        usage = found.get("usage")
        if isinstance(usage, dict) and isinstance(usage.get("prompt_tokens"), int):
            self.prompt_tokens = usage["prompt_tokens"]
            return not (self.hide_usage and not found.get("choices"))
        return True


def _events(data: bytes) -> Iterator[bytes]:
    """Whole events, each with the empty line that ends it."""
    lines: list[bytes] = []
    for line in data.splitlines(keepends=True):
        lines.append(line)
        if not line.strip(b"\r\n"):
            yield b"".join(lines)
            lines = []
    if lines:
        yield b"".join(lines)


def _json(event: bytes) -> Any:
    if not event.startswith(b"data:"):
        return None
    try:
        return json.loads(event[5:])
    except ValueError:
        return None
