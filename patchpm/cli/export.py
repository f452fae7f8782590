"""`patchpm export`."""

from __future__ import annotations

import click

from patchpm.cli import export_gguf, export_hf, export_ollama


@click.group()
def command() -> None:
    """Write the locked patch set as files for engines that know nothing of patchpm.

    The files hold the base model and the patches together, so the engine needs no plug-in, and clients need no change.
    """


command.add_command(export_gguf.command)
command.add_command(export_hf.command)
command.add_command(export_ollama.command)
