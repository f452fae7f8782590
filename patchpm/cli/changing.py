"""What commands that change a registry have in common."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.options import address
from patchpm.project.policy_file import load_policy
from patchpm.registry.host import Host
from patchpm.registry.hosts import open_host
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


def chosen_host(typed: str) -> Host:
    """The host of a registry that a user names by alias or address.

    Raises:
        UsageError: `unsupported-registry`.
    """
    known = load_policy(Folders.of_user(), Path()).registries
    return open_host(next((item.url for item in known if item.alias == typed), None) or address(typed))


def writer_of(typed: str, signers: Sequence[PrivateKey]) -> RegistryWriter:
    """The writer of a registry that a user names by alias or address."""
    from patchpm.registry.writer import RegistryWriter

    return RegistryWriter(chosen_host(typed), signers, datetime.now(UTC))
