"""TOML as every patchpm file reads it: whatever the standard library stumbles over is one kind of error."""

from __future__ import annotations

import tomllib

from patchpm.errors import PatchpmError


def loads(
    text: str, *, source: str, code: str, error: type[PatchpmError], next: str | None = None
) -> dict[str, object]:
    """Parse TOML.

    Args:
        text: What to parse.
        source: Name of the file, for errors.
        code: Code of the error to raise.
        error: Its class.
        next: What the user can do about it.

    Raises:
        PatchpmError: `error` with `code`, for what is no TOML, is nested too deep or holds a number of thousands of
            digits; `tomllib` raises another exception for each of these.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise error(code, f"{source} is nested too deep", next=next) from None
    except ValueError as found:
        raise error(code, f"{source} is not TOML", why=str(found), next=next) from None
