"""`patchpm completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from patchpm.cli.options import json_option
from patchpm.cli.output import emit, line


@click.command(epilog="Example: echo 'eval \"$(patchpm completion bash)\"' >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def command(shell: str, as_json: bool) -> None:
    """Print the script that makes SHELL complete patchpm's commands and options."""
    from patchpm.cli.app import app

    kind = get_completion_class(shell)
    assert kind is not None  # click.Choice has seen to it
    source = kind(app, {}, "patchpm", "_PATCHPM_COMPLETE").source()
    emit({"shell": shell, "script": source}, lambda: line(source), as_json=as_json)
