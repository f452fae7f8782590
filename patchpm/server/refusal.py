"""Answers that say no, in the way that clients of the Hub understand."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from sqlalchemy import exc as database
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from patchpm.errors import NetworkError, PatchpmError
from patchpm.server.repository import GoneError

REPO, REVISION, ENTRY = "RepoNotFound", "RevisionNotFound", "EntryNotFound"
"""What a client turns into exceptions of their own."""
_MAX_MESSAGE: Final = 500
_OUTAGES: Final = (database.OperationalError, database.InterfaceError, database.TimeoutError, NetworkError)


class RefusedError(Exception):
    """A request that is refused.

    Attributes:
        status: HTTP status.
        message: For whoever sent it.
        code: Value of `X-Error-Code`, if clients know one for this.
        headers: More headers.
        extra: More fields of the body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message[:_MAX_MESSAGE]
        self.code = code
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def response(self) -> JSONResponse:
        """What the client gets."""
        # Header values are bytes of Latin-1 without control characters; a message may quote what a stranger sent.
        shown = "".join(letter if " " <= letter <= "~" else "?" for letter in self.message)
        headers = {"X-Error-Message": shown} | ({"X-Error-Code": self.code} if self.code else {}) | self.headers
        return JSONResponse({"error": self.message} | self.extra, self.status, headers)


def refusal_of(error: Exception, what: str) -> RefusedError | None:
    """What a client gets for an error that is not its own; None for a bug of this server.

    Args:
        error: What came up.
        what: Method and path of the request.
    """
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, HTTPException):
        return RefusedError(error.status_code, f"This registry does not answer {what[:200]}", headers=error.headers)
    if isinstance(error, GoneError | database.IntegrityError):
        meanwhile = conflict("Someone else changed this at the same moment. Please try again.")
        return no_repo(str(error)) if isinstance(error, GoneError) else meanwhile
    if isinstance(error, _OUTAGES) or _is_of_store(error):
        return RefusedError(503, "The registry's database or store does not answer", headers={"Retry-After": "2"})
    full = (errno.ENOSPC, errno.EDQUOT)
    if (isinstance(error, PatchpmError) and error.code == "disk-full") or getattr(error, "errno", None) in full:
        return RefusedError(507, "The registry's disk is full")
    return None


def _is_of_store(error: Exception) -> bool:
    return type(error).__module__.startswith("obstore") and not isinstance(error, FileNotFoundError)


def no_repo(name: str) -> RefusedError:
    """There is no such repository, or the caller may not know of it."""
    return RefusedError(404, f"Repository not found: {name}", REPO)


def no_revision(revision: str) -> RefusedError:
    """There is no such branch, tag or commit."""
    return RefusedError(404, f"Invalid rev id: {revision}", REVISION)


def no_entry(path: str) -> RefusedError:
    """There is no such file at that commit."""
    return RefusedError(404, f"Entry not found: {path}", ENTRY)


def malformed(message: str) -> RefusedError:
    """The request is not what the protocol says."""
    return RefusedError(400, message)


def conflict(message: str, **extra: object) -> RefusedError:
    """There is something of that name."""
    return RefusedError(409, message, extra=extra)
