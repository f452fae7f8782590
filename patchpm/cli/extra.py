"""Commands that need an optional part of patchpm say so, instead of failing in an import."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from patchpm.errors import CannotError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn a missing library into an error that names the extra to install.

    Raises:
        CannotError: `extra-missing`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("patchpm"):
            raise
        raise CannotError(
            "extra-missing",
            f"this command needs the extra {extra!r}",
            why=str(error),
            next=f'run `pip install "patchpm[{extra}]"`',
        ) from error


def require_extra(extra: str, module: str) -> None:
    """Import a module of ours that needs an extra, before any work is done.

    Raises:
        CannotError: `extra-missing`.
    """
    with needs_extra(extra):
        importlib.import_module(module)
