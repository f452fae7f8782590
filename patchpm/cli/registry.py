"""`patchpm registry`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.changing import registry_option, signing_option, writer_of
from patchpm.cli.options import address, json_option, project_option
from patchpm.cli.output import columns, emit, line, note
from patchpm.cli.registry_accept import accept_command
from patchpm.cli.registry_accounts import account_command, token_command
from patchpm.cli.registry_copy import copy_command
from patchpm.cli.registry_serve import serve_command
from patchpm.cli.session import Session
from patchpm.cli.signing import load_keys, passphrase_option
from patchpm.errors import TrustError
from patchpm.patch.digest import Digest
from patchpm.patch.name import check_vendor
from patchpm.project.policy_file import edit_user_policy, load_policy
from patchpm.registry.hosts import open_host
from patchpm.settings import Folders
from patchpm.trust.keys import PublicKey
from patchpm.trust.policy import RegistryTrust, key_set
from patchpm.trust.policy_toml import with_registry

if TYPE_CHECKING:
    from patchpm.registry.roles import RootRoles
    from patchpm.trust.private_keys import PrivateKey

_ROLES = ("root", "targets", "snapshot", "timestamp")


@click.group()
def command() -> None:
    """Make and keep a registry: a folder of static files, which any web server or bucket can hand out.

    What changes a registry must be signed: releases and yanks by the vendor's key, vendors by the targets key, and
    every change by the keys of snapshot and timestamp.
    """


def _role_options(function: click.decorators.FC) -> click.decorators.FC:
    for role in reversed(_ROLES):
        function = click.option(
            f"--{role}-key",
            f"{role}_keys",
            multiple=True,
            required=role == "root",
            metavar="KEY",
            help=f"A key of the role {role}; may be repeated."
            + ("" if role == "root" else f" Default: the {'root' if role == 'targets' else 'targets'} keys."),
        )(function)
    return click.option(
        "--root-threshold",
        type=click.IntRange(1),
        help="How many root keys must sign. Default: 1 for a new registry, else what it is now.",
    )(function)


@command.command(
    "init", epilog="Example: patchpm registry init --registry /srv/patches --root-key root --targets-key online"
)
@registry_option
@_role_options
@passphrase_option
@json_option
def init_command(
    url: str,
    root_keys: tuple[str, ...],
    targets_keys: tuple[str, ...],
    snapshot_keys: tuple[str, ...],
    timestamp_keys: tuple[str, ...],
    root_threshold: int | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make an empty registry. Keep the root keys offline: they are needed again only to change keys."""
    named = _named_keys(root_keys, targets_keys, snapshot_keys, timestamp_keys, passphrase_file)
    roles = _roles(named, root_threshold or 1)
    writer = writer_of(url, [key for keys in named for key in keys])
    root = writer.create(roles)

    def human() -> None:
        line(f"made a registry in {url}; its root is {root}")
        note(f"users add it with `patchpm registry add ALIAS {url} --root {root} --namespace VENDOR`")

    emit({"registry": url, "root": str(root)}, human, as_json=as_json)


@command.command(
    "rotate-root", epilog="Example: patchpm registry rotate-root --registry /srv/patches --root-key new --key old"
)
@registry_option
@_role_options
@click.option("--key", "keys", multiple=True, metavar="KEY", help="Old keys that must sign the change.")
@passphrase_option
@json_option
def rotate_command(
    url: str,
    root_keys: tuple[str, ...],
    targets_keys: tuple[str, ...],
    snapshot_keys: tuple[str, ...],
    timestamp_keys: tuple[str, ...],
    root_threshold: int | None,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Give the registry's roles other keys. Users follow by themselves, from the root they have pinned."""
    named = _named_keys(root_keys, targets_keys, snapshot_keys, timestamp_keys, passphrase_file)
    signers = [key for role in named for key in role] + load_keys(keys, passphrase_file)
    writer = writer_of(url, signers)
    root = writer.rotate_root(_roles(named, root_threshold or writer.root_keys().threshold))
    emit({"registry": url, "root": str(root)}, lambda: line(f"the root is now {root}"), as_json=as_json)


@command.command(
    "add-vendor",
    epilog="Example: patchpm registry add-vendor acme --public ed25519:… --registry DIR --key online",
)
@click.argument("vendor")
@click.option(
    "--public", "public", multiple=True, required=True, metavar="ed25519:…|p256:…", help="A key of the vendor."
)
@click.option("--threshold", type=click.IntRange(1), default=1, show_default=True, help="How many must sign a release.")
@click.option("--allow-lookalike", is_flag=True, help="Take a name that is close to another vendor's.")
@registry_option
@signing_option
@passphrase_option
@json_option
def add_vendor_command(
    vendor: str,
    public: tuple[str, ...],
    threshold: int,
    allow_lookalike: bool,
    url: str,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Give VENDOR the namespace VENDOR/*, signed for by its own keys."""
    writer = writer_of(url, load_keys(keys, passphrase_file))
    told = key_set([PublicKey.parse(text) for text in public], threshold)
    added = writer.add_vendor(check_vendor(vendor), told, allow_lookalike=allow_lookalike)
    text = f"{vendor} may publish now" if added else f"{vendor} was there already"
    emit({"vendor": vendor, "changed": added}, lambda: line(text), as_json=as_json)


@command.command("refresh", epilog="Example: patchpm registry refresh --registry /srv/patches --key online")
@registry_option
@signing_option
@passphrase_option
@json_option
def refresh_command(url: str, keys: tuple[str, ...], passphrase_file: Path | None, as_json: bool) -> None:
    """Sign what expires anew. Run it daily: metadata that expires is how users notice a mirror that hides updates."""
    writer_of(url, load_keys(keys, passphrase_file)).refresh()
    emit({"registry": url, "changed": True}, lambda: line(f"signed {url} anew"), as_json=as_json)


@command.command("add", epilog="Example: patchpm registry add corp /srv/patches --root sha256:… --namespace acme")
@click.argument("alias")
@click.argument("url")
@click.option("--root", required=True, help="Digest of its root, as whoever runs it tells you.")
@click.option(
    "--namespace", "namespaces", multiple=True, required=True, help="A vendor it may serve, or `*` for all others."
)
@json_option
def add_command(alias: str, url: str, root: str, namespaces: tuple[str, ...], as_json: bool) -> None:
    """Trust the registry at URL for some vendors, and call it ALIAS. A vendor belongs to one registry only."""
    place = address(url)
    open_host(place)
    trusted = RegistryTrust(alias, place, Digest.parse(root), tuple(sorted(set(namespaces))))
    known = next((item for item in load_policy(Folders.of_user(), Path()).registries if item.alias == alias), None)
    if known is not None and (known.url, known.root) != (trusted.url, trusted.root):
        raise TrustError(
            "registry-changed",
            f"your policy has another registry called {alias}",
            why=f"it is {known.url} with the root {known.root}",
            next=f"if you mean to replace it: `patchpm trust remove registry {alias}` first",
        )
    path = edit_user_policy(Folders.of_user(), lambda text: with_registry(text, trusted))
    emit(
        {"alias": alias, "url": place, "policy": str(path)},
        lambda: line(f"{alias} may serve {', '.join(trusted.namespaces)} ({path})"),
        as_json=as_json,
    )


@command.command("list", epilog="Example: patchpm registry list")
@project_option
@json_option
def list_command(folder: Path, as_json: bool) -> None:
    """Show the registries of the policy. `patchpm status` says which of them answer."""
    registries = Session(folder).policy.registries
    emit(
        [
            {"alias": item.alias, "url": item.url, "root": str(item.root), "namespaces": list(item.namespaces)}
            for item in registries
        ],
        lambda: columns(
            [(item.alias, item.url, " ".join(item.namespaces), str(item.root)) for item in registries],
            ("alias", "address", "namespaces", "root"),
        ),
        as_json=as_json,
    )


for _subcommand in (accept_command, account_command, copy_command, serve_command, token_command):
    command.add_command(_subcommand)


def _named_keys(
    root: tuple[str, ...],
    targets: tuple[str, ...],
    snapshot: tuple[str, ...],
    timestamp: tuple[str, ...],
    passphrase_file: Path | None,
) -> tuple[list[PrivateKey], list[PrivateKey], list[PrivateKey], list[PrivateKey]]:
    of_root = load_keys(root, passphrase_file)
    of_targets = load_keys(targets, passphrase_file) or of_root
    return (
        of_root,
        of_targets,
        load_keys(snapshot, passphrase_file) or of_targets,
        load_keys(timestamp, passphrase_file) or of_targets,
    )


def _roles(
    named: tuple[list[PrivateKey], list[PrivateKey], list[PrivateKey], list[PrivateKey]], threshold: int
) -> RootRoles:
    from patchpm.registry.roles import RootRoles

    sets = [
        key_set([key.public for key in keys], threshold if role == "root" else 1)
        for role, keys in zip(_ROLES, named, strict=True)
    ]
    return RootRoles(sets[0], sets[1], sets[2], sets[3])
