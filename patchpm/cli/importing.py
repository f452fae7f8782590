"""`patchpm import`."""

from __future__ import annotations

import click

from patchpm.cli.import_peft import command as peft


@click.group("import")
def command() -> None:
    """Turn what another tool trained into a prefix, with drafts of what `patchpm pack` needs beside it."""


command.add_command(peft)
