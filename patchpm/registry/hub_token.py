"""Tokens for the Hugging Face Hub and its like: each goes to the server that it is for, and nowhere else.

The token of the public Hub is the one that all of its tools use (`HF_TOKEN`, `hf auth login`). Those of other servers
stand in the Hub's own file of named tokens, under the server's address.

Source: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables.
"""

from __future__ import annotations

import configparser
import io
import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from patchpm.atomic_write import explained, write_atomic
from patchpm.errors import UsageError
from patchpm.registry.http_files import may_carry_secrets
from patchpm.registry.hub_address import PUBLIC
from patchpm.settings import HF_ENDPOINT, HF_HOME, HF_STORED_TOKENS_PATH, HF_TOKEN, HF_TOKEN_PATH, HUB_TOKENS

_KEY: Final = "hf_token"
_LOCK_SECONDS: Final = 30


def token_for(endpoint: str) -> str | None:
    """The token for a server, or None.

    In this order: `PATCHPM_TOKENS` (`https://host=token`, several apart by spaces), `HF_TOKEN` for the public Hub or
    the server that `HF_ENDPOINT` names, the file of named tokens, and the token that `hf auth login` keeps, for the
    same one.

    Raises:
        UsageError: as `check_token`, or `invalid-tokens`.
    """
    is_default = endpoint == (os.environ.get(HF_ENDPOINT) or PUBLIC).rstrip("/")
    found = _of_environment().get(endpoint)
    if found is None and is_default:
        found = os.environ.get(HF_TOKEN)
    if not found:
        found = _stored().get(endpoint, _KEY, fallback=None)
    if not found and is_default:
        found = _text(_path(HF_TOKEN_PATH, "token"))
    found = (found or "").strip()
    return check_token(endpoint, found) if found else None


def check_token(endpoint: str, found: str) -> str:
    """The token, if it is one and may be sent to a server. Errors do not show it.

    Raises:
        UsageError: `invalid-token` or `insecure-registry`.
    """
    if not found.isascii() or not found.isprintable():
        raise UsageError(
            "invalid-token", f"the token for {endpoint} is no token", why="it has strange characters in it"
        )
    parts = urlsplit(endpoint)
    if not may_carry_secrets(parts.scheme, parts.hostname or ""):
        raise UsageError(
            "insecure-registry",
            f"the token for {endpoint} would cross the network in the clear",
            next=f"use https, or sign out with `patchpm logout {endpoint}`",
        )
    return found


def keep_token(endpoint: str, token: str | None) -> bool:
    """Keep the token for a server among the Hub's named tokens, or drop it; False where there was none to drop.

    Raises:
        CannotError: `read-only`, `disk-full` or `cannot-write`.
        UsageError: `invalid-tokens`.
    """
    from filelock import FileLock

    path = _path(HF_STORED_TOKENS_PATH, "stored_tokens")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with explained(path), FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
        stored = _stored()
        if token is None:
            if not stored.remove_section(endpoint):
                return False
        else:
            if not stored.has_section(endpoint):
                stored.add_section(endpoint)
            stored.set(endpoint, _KEY, token)
        text = io.StringIO()
        stored.write(text)
        write_atomic(path, text.getvalue().encode(), mode=0o600)
    return True


def _of_environment() -> dict[str, str]:
    found: dict[str, str] = {}
    for item in os.environ.get(HUB_TOKENS, "").split():
        endpoint, separator, token = item.partition("=")  # a token may end with one, and an address has none
        if not (separator and token) or not endpoint.startswith(("https://", "http://")):
            raise UsageError(
                "invalid-tokens",
                f"{HUB_TOKENS} is not a list of tokens",
                next="write it like https://host=TOKEN, several apart by spaces",
            )
        found[endpoint.rstrip("/")] = token
    return found


def _stored() -> configparser.ConfigParser:
    stored = configparser.ConfigParser(interpolation=None, default_section="\0")
    path = _path(HF_STORED_TOKENS_PATH, "stored_tokens")
    try:
        stored.read_string(_text(path) or "")
    except configparser.Error as error:
        raise UsageError(
            "invalid-tokens",
            f"{path} cannot be read",
            why=str(error).split("\n", maxsplit=1)[0],
            next="mend or delete it",
        ) from None
    return stored


def _path(variable: str, name: str) -> Path:
    home = os.environ.get(HF_HOME) or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.environ.get(variable) or Path(home, name)).expanduser()


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("invalid-tokens", f"{path} cannot be read", why=str(error)) from None
