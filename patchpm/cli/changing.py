"""What commands that change a registry have in common."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.options import address, json_option
from patchpm.cli.output import plain
from patchpm.cli.signing import passphrase_option
from patchpm.errors import UsageError
from patchpm.project.policy_file import load_policy
from patchpm.registry.host import Forum, Host
from patchpm.registry.hosts import open_host
from patchpm.registry.hub import HubHost
from patchpm.settings import Folders

if TYPE_CHECKING:
    from patchpm.registry.writer import RegistryWriter
    from patchpm.trust.private_keys import PrivateKey

registry_option = click.option(
    "--registry",
    "url",
    required=True,
    help="The registry: its alias in your policy, its folder, or a file:, s3:, gs:, az: or hf: address.",
)
signing_option = click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="KEY",
    help="A key that must sign: a name of `patchpm key list`, or a private key file. Give every key that has a say.",
)


pull_request_option = click.option(
    "--pull-request",
    is_flag=True,
    help="Hand it in to whoever runs the registry, without the registry's own keys: on the Hub and its like.",
)


def vendor_options(function: click.decorators.FC) -> click.decorators.FC:
    """The options of every command by which a vendor changes what they have published."""
    for option in (json_option, passphrase_option, pull_request_option, signing_option, registry_option):
        function = option(function)
    return function


def chosen_host(typed: str) -> Host:
    """The host of a registry that a user names by alias or address.

    Raises:
        UsageError: `unsupported-registry`.
    """
    known = load_policy(Folders.of_user(), Path()).registries
    return open_host(next((item.url for item in known if item.alias == typed), None) or address(typed))


def forum_of(typed: str) -> Forum:
    """The same, for a host that takes proposals.

    Raises:
        UsageError: `no-proposals` for any other.
    """
    host = chosen_host(typed)
    if not isinstance(host, HubHost):
        raise UsageError(
            "no-proposals",
            "this registry takes no pull requests",
            why=f"{host.where} is not on the Hub, nor on a server that speaks its protocol",
        )
    return host


def writer_of(typed: str, signers: Sequence[PrivateKey], *, pull_request: bool = False) -> RegistryWriter:
    """The writer of a registry that a user names by alias or address.

    Args:
        typed: Alias or address.
        signers: All keys at hand.
        pull_request: Hand changes in instead of making them.
    """
    from patchpm.registry.writer import RegistryWriter

    forum = forum_of(typed) if pull_request else None
    return RegistryWriter(chosen_host(typed), signers, datetime.now(UTC), forum=forum)


def outcome(writer: RegistryWriter, changed: bool, done: str) -> str:
    """What became of a change, in a line."""
    if not changed:
        return "nothing changed"
    return (
        done
        if writer.proposal is None
        else f"proposed at {plain(writer.proposal)}; it waits for the operator's signature"
    )
