"""The policy that holds for a project: what comes with patchpm, then the user's file, then the project's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from patchpm.atomic_write import write_atomic
from patchpm.errors import CannotError
from patchpm.registry.builtin import builtin_policy
from patchpm.settings import Folders
from patchpm.trust.policy import Policy
from patchpm.trust.policy_layers import layered
from patchpm.trust.policy_toml import read_policy

PROJECT_FILE = "patchpm-policy.toml"
"""A project's own layer, beside its patchpm.toml. Like every layer it can only add and tighten."""


def load_policy(folders: Folders, folder: Path) -> Policy:
    """Read and join the layers; files that are not there count for nothing.

    Raises:
        UsageError: `malformed-policy`.
        TrustError: `policy-conflict`.
    """
    layers = [builtin_policy()]
    for path in (folders.policy, folder / PROJECT_FILE):
        text = policy_text(path)
        if text is not None:
            layers.append(read_policy(text, place=path.name))
    return layered(layers)


def edit_user_policy(folders: Folders, change: Callable[[str | None], str]) -> Path:
    """Rewrite the user's layer, unless what comes of it could not be used.

    Args:
        folders: Where it is.
        change: Makes the new text out of the present one.

    Returns:
        The file.

    Raises:
        UsageError: `malformed-policy`, or `unknown-evaluator`.
        TrustError: `policy-conflict`.
    """
    text = change(policy_text(folders.policy))
    layered([builtin_policy(), read_policy(text, place=folders.policy.name)])
    write_atomic(folders.policy, text.encode(), mode=0o600)
    return folders.policy


def policy_text(path: Path) -> str | None:
    """The text of one layer, or None where there is no such file."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CannotError("unreadable-file", f"{path.name} cannot be read", why=f"{path}: {error}") from None
