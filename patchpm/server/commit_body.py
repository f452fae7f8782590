"""What a client of the Hub sends as a commit: lines of JSON."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

MAX_CHANGES: Final = 10_000
MAX_PATH: Final = 1024
"""Bytes of UTF-8; PostgreSQL indexes no more than some 2,700."""
MAX_TITLE: Final = 1000
MAX_MESSAGE: Final = 65_536
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHA1: Final = re.compile(r"[0-9a-f]{40}")


class MalformedError(ValueError):
    """A body that is none; says where."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file whose bytes come along."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file whose bytes were uploaded before."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """A file or folder that goes."""

    path: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class CommitBody:
    """The whole."""

    title: str
    message: str
    parent: str | None
    changes: Sequence[NewFile | StoredFile | Deletion]


def read_commit(body: bytes) -> CommitBody:
    """Read a commit.

    Raises:
        MalformedError: For anything that is not one.
    """
    header: dict[str, Any] | None = None
    changes: list[NewFile | StoredFile | Deletion] = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        key, value = _item(number, line)
        if key == "header":
            if header is not None:
                raise MalformedError(f"line {number}: a second header")
            header = value
        else:
            changes.append(_change(number, key, value))
        if len(changes) > MAX_CHANGES:
            raise MalformedError(f"more than {MAX_CHANGES:,} changes")
    if header is None:
        raise MalformedError("there is no header")
    parent = header.get("parentCommit")
    if parent is not None and not (isinstance(parent, str) and _SHA1.fullmatch(parent)):
        raise MalformedError("parentCommit is no commit")
    title, message = _text(header, "summary", 0), _text(header, "description", 0, default="")
    return CommitBody(title[:MAX_TITLE], message[:MAX_MESSAGE], parent, changes)


def check_path(path: str) -> str:
    """A path that stays within its repository.

    Raises:
        MalformedError: For any other.
    """
    segments = path.split("/")
    inside = all(segment and segment not in (".", "..", ".git") for segment in segments)
    storable = path.isprintable() and "\\" not in path
    if not inside or not storable or len(path.encode()) > MAX_PATH:
        raise MalformedError(f"{path[:200]!r} is no path of a file")
    return path


def is_storable(text: str) -> bool:
    """Whether databases take a text: no NUL, and nothing that UTF-8 cannot say (JSON can)."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _item(number: int, line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        item = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"line {number} is not JSON") from error
    if not isinstance(item, dict) or not isinstance(item.get("value"), dict) or not isinstance(item.get("key"), str):
        raise MalformedError(f"line {number} has no key and value")
    return item["key"], item["value"]


def _change(number: int, key: str, value: dict[str, Any]) -> NewFile | StoredFile | Deletion:
    path = check_path(_text(value, "path", number).removesuffix("/" if key == "deletedFolder" else "\0"))
    if key in ("deletedFile", "deletedFolder"):
        return Deletion(path, key == "deletedFolder")
    if key == "lfsFile":
        oid = _text(value, "oid", number)
        if not _SHA256.fullmatch(oid):
            raise MalformedError(f"line {number}: oid is no SHA-256")
        return StoredFile(path, oid)
    if key != "file" or value.get("encoding", "base64") != "base64":
        raise MalformedError(f"line {number}: {key[:50]!r} is nothing that a commit can hold")
    try:
        return NewFile(path, base64.b64decode(_text(value, "content", number), validate=True))
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"line {number}: content is not base64") from error


def _text(value: dict[str, Any], key: str, number: int, *, default: str | None = None) -> str:
    found = value.get(key, default)
    if not isinstance(found, str) or not is_storable(found):
        raise MalformedError(f"line {number}: {key} is no text" if number else f"the header's {key} is no text")
    return found
