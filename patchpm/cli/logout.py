"""`patchpm logout`."""

from __future__ import annotations

import click

from patchpm.cli.login import endpoint_of, server_argument
from patchpm.cli.options import json_option
from patchpm.cli.output import emit, line
from patchpm.registry.hub_token import keep_token


@click.command("logout", epilog="Example: patchpm logout https://patches.example")
@server_argument
@json_option
def command(server: str, as_json: bool) -> None:
    """Forget the token that `patchpm login` kept for SERVER; default: the public Hub. It stays good until revoked."""
    endpoint = endpoint_of(server)
    dropped = keep_token(endpoint, None)
    text = f"signed out of {endpoint}" if dropped else f"no token was kept for {endpoint}"
    emit({"server": endpoint, "changed": dropped}, lambda: line(text), as_json=as_json)
