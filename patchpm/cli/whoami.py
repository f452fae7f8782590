"""`patchpm whoami`."""

from __future__ import annotations

import click

from patchpm.cli.login import described, endpoint_of, identity, server_argument
from patchpm.cli.options import json_option
from patchpm.cli.output import columns, emit, plain
from patchpm.errors import CannotError
from patchpm.registry.hub_token import token_for


@click.command("whoami", epilog="Example: patchpm whoami https://patches.example")
@server_argument
@json_option
def command(server: str, as_json: bool) -> None:
    """Show whom the token for SERVER stands for; default: the public Hub."""
    endpoint = endpoint_of(server)
    token = token_for(endpoint)
    if token is None:
        raise CannotError("signed-out", f"there is no token for {endpoint}", next=f"run `patchpm login {endpoint}`")
    found = identity(endpoint, token)
    rows = [("server", endpoint), ("user", plain(found.name))]
    rows += [("organisation", plain(f"{org} ({role})")) for org, role in found.organisations]
    emit(described(endpoint, found), lambda: columns(rows), as_json=as_json)
