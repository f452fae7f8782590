"""Answers that say no, in the shape that clients of OpenAI's API turn into exceptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

_MAX_MESSAGE: Final = 500
_KINDS: Final = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class RefusedError(Exception):
    """A request that is not answered, or not to its end.

    Attributes:
        status: HTTP status.
        code: Stable name of the case.
        message: For whoever sent it.
        param: The field of the request that it is about.
        headers: More headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message[:_MAX_MESSAGE]
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The JSON that a client gets."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()

    def event(self) -> bytes:
        """The same as the last event of a stream that has begun."""
        return b"data: " + self.body() + b"\n\n"


def malformed(message: str, *, param: str | None = None, code: str = "invalid_request") -> RefusedError:
    """The request is not one of the protocol's."""
    return RefusedError(400, code, message, param=param)


def not_served(what: str) -> RefusedError:
    """An endpoint that a patched server does not have."""
    return RefusedError(
        404,
        "endpoint_not_served",
        f"{what} is not served here: the patches can be put into chat completions only (/v1/chat/completions)",
    )


def engine_failed(why: str) -> RefusedError:
    """The engine broke off."""
    return RefusedError(502, "engine_failed", f"The engine that worked on this request failed: {why}")


def engine_silent() -> RefusedError:
    """The engine took too long, which says nothing about what else it works on."""
    return RefusedError(504, "engine_silent", "The engine did not answer in time")


def no_engine() -> RefusedError:
    """There is nobody to work on it."""
    return RefusedError(503, "no_engine", "No engine is ready for this request", headers={"Retry-After": "2"})


def wrong_count(expected: int | None, found: int | None) -> RefusedError:
    """The engine did not read the prompt that it should have."""
    return RefusedError(
        502,
        "patch_not_proven",
        f"The engine counted {found} prompt tokens and {expected} were expected, so it may not carry its patches",
    )
