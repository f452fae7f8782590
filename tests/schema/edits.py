"""Making one document of another: what a bad vector differs in from a good one."""

from __future__ import annotations

import copy
import hashlib
import json
import tomllib
from collections.abc import Mapping
from typing import Any

Path = tuple[str | int, ...]
ABSENT = object()
"""As a new value: take the field out."""


def put(value: Any, path: Path, new: object) -> Any:
    """A copy of a parsed document with another value at `path`."""
    changed = copy.deepcopy(value)
    place = changed
    for step in path[:-1]:
        place = place[step]
    if new is ABSENT:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return changed


def json_text(value: object) -> bytes:
    """JSON as patchpm lays it out; NaN and lone surrogates can be written too."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return (
        "".join(rf"\u{ord(letter):04x}" if "\ud800" <= letter <= "\udfff" else letter for letter in text).encode()
        + b"\n"
    )


def toml_text(value: Mapping[str, object]) -> str:
    """TOML with one key a line. Strings, integers, floats, booleans, lists and tables are all there is."""
    return "".join(f"{_string(key)} = {_inline(item)}\n" for key, item in value.items())


def with_content(text: str) -> str:
    """The text of a lock with its first `content` put right, so that nothing else can be wrong with it.

    Written from `registry_schema/README.md`, not with the code under test.
    """
    rest = {key: item for key, item in tomllib.loads(text).items() if key != "content"}
    written = json.dumps(rest, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(b"patchpm-lock-v1\n" + written.encode()).hexdigest()
    lines = text.splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith(("content =", '"content" =')))
    lines[place] = f'content = "sha256:{digest}"\n'
    return "".join(lines)


def with_set(value: Any) -> Any:
    """An export with its `set` put right, where there are patches to make it of.

    Written from `registry_schema/README.md`, not with the code under test.
    """
    try:
        rows = [[patch["name"], patch["version"], patch["prefix"]] for patch in value["patches"]]
        members = [value["anchor"], rows]
        value["set"]
    except (KeyError, TypeError):
        return value
    written = json.dumps(members, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(b"patchpm-set-v1\n" + written.encode(errors="replace")).hexdigest()
    return {**value, "set": f"sha256:{digest}"}


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_string(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return _string(value) if isinstance(value, str) else repr(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
