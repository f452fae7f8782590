"""`patchpm export`."""

from __future__ import annotations

import click

from patchpm.cli import export_gguf, export_hf, export_ollama, export_peft


@click.group()
def command() -> None:
    """Write the locked patch set as files for engines that know nothing of patchpm.

    The files hold the base model and the patches together, so the engine needs no plug-in, and clients need no change.
    """


for _one in (export_hf, export_gguf, export_ollama, export_peft):
    command.add_command(_one.command)
