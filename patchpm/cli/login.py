"""`patchpm login`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from patchpm.cli.extra import needs_extra
from patchpm.cli.options import json_option
from patchpm.cli.output import emit, line, plain
from patchpm.errors import UsageError
from patchpm.registry.hub_address import HubAddress, read_endpoint
from patchpm.registry.hub_token import check_token, keep_token

if TYPE_CHECKING:
    from patchpm.patch.strict_json import JsonValue
    from patchpm.registry.hub_writer import Identity

server_argument = click.argument("server", default="hf://", metavar="[SERVER]")


@click.command("login", epilog="Example: patchpm login https://patches.example < token-file")
@server_argument
@json_option
def command(server: str, as_json: bool) -> None:
    """Keep a token for SERVER, a registry server's address or that of a registry on it; default: the public Hub.

    The token is typed, or read from standard input. It is tried out first, and then kept among the Hub's own tokens,
    from where patchpm sends it to SERVER and nowhere else.
    """
    endpoint = endpoint_of(server)
    if sys.stdin.isatty():
        token = click.prompt(f"Token for {endpoint}", hide_input=True, err=True).strip()
    else:
        token = sys.stdin.readline().strip()
    if not token:
        raise UsageError("no-token", "there is no token on standard input", next="`patchpm login < FILE`")
    found = identity(endpoint, check_token(endpoint, token))
    keep_token(endpoint, token)
    emit(described(endpoint, found), lambda: line(f"signed in to {endpoint} as {plain(found.name)}"), as_json=as_json)


def endpoint_of(server: str) -> str:
    """The server that a user means."""
    return read_endpoint("hf://public/hub" if server == "hf://" else server)


def identity(endpoint: str, token: str) -> Identity:
    """Who a token stands for, as its server says it.

    Raises:
        CannotError: `not-allowed` for a token that is not good, or `extra-missing`.
        NetworkError: `unreachable`.
    """
    with needs_extra("hub"):
        from patchpm.registry.hub_writer import HubWriter
    return HubWriter(HubAddress(endpoint, ""), token).whoami()


def described(endpoint: str, found: Identity) -> JsonValue:
    """The same for a script."""
    return {"server": endpoint, "user": found.name, "organisations": [org for org, _ in found.organisations]}
