"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click


def address(typed: str) -> str:
    """The address of a registry as a user types it: paths count from here."""
    return typed if ":" in typed else str(Path(typed).resolve())


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
project_option = click.option(
    "--project",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder of patchpm.toml (default: here).",
)
offline_option = click.option(
    "--offline",
    is_flag=True,
    help="Ask no registry over the network; use what was seen before. Also PATCHPM_OFFLINE=1.",
)
