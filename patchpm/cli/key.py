"""`patchpm key`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.atomic_write import write_atomic
from patchpm.cli.options import json_option
from patchpm.cli.output import columns, emit, line, note, warn
from patchpm.cli.signing import load_key, passphrase_for, passphrase_option
from patchpm.errors import CannotError, UsageError
from patchpm.patch.name import is_segment
from patchpm.patch.strict_json import JsonValue
from patchpm.settings import Folders
from patchpm.trust.keys import SCHEMES, PublicKey
from patchpm.trust.private_keys import PrivateKey, generate, read_public_key


@click.group()
def command() -> None:
    """Make and show signing keys."""


@command.command("generate", epilog="Example: patchpm key generate acme-release")
@click.argument("name")
@click.option("--scheme", type=click.Choice(SCHEMES), default=SCHEMES[0], show_default=True)
@click.option("--no-passphrase", is_flag=True, help="Do not encrypt it: for tests and for machines without a person.")
@passphrase_option
@json_option
def generate_command(name: str, scheme: str, no_passphrase: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a new key pair called NAME, encrypted at rest."""
    _keep(name, generate(scheme), no_passphrase=no_passphrase, passphrase_file=passphrase_file, as_json=as_json)


@command.command("import", epilog="Example: patchpm key import ~/.ssh/id_ed25519 acme-release")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.argument("name")
@click.option("--no-passphrase", is_flag=True, help="Do not encrypt the copy.")
@passphrase_option
@json_option
def import_command(file: str, name: str, no_passphrase: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Keep a copy of the private key FILE (OpenSSH or PKCS8; Ed25519 or P-256) under NAME."""
    key = load_key(str(Path(file).resolve()), passphrase_file)
    _keep(name, key, no_passphrase=no_passphrase, passphrase_file=passphrase_file, as_json=as_json)


@command.command("list", epilog="Example: patchpm key list")
@json_option
def list_command(as_json: bool) -> None:
    """Show the keys of this user."""
    found = [(path.stem, _public(path)) for path in sorted(Folders.of_user().keys.glob("*.pub"))]

    def human() -> None:
        columns([(name, str(key)) for name, key in found], ("key", "public key"))
        if not found:
            note("no keys yet; `patchpm key generate NAME` makes one")

    emit([_described(name, key) for name, key in found], human, as_json=as_json)


@command.command("show", epilog="Example: patchpm key show acme-release")
@click.argument("key")
@json_option
def show_command(key: str, as_json: bool) -> None:
    """Print the public half of KEY: a name of `patchpm key list`, or a public or private key file."""
    path = Folders.of_user().keys / f"{key}.pub"
    if "/" in key or not path.is_file():
        path = Path(key).expanduser()
    try:
        public = _public(path)
    except OSError as error:
        raise CannotError("no-key", f"there is no key {key!r}", why=f"{path}: {error.strerror}") from None
    emit(_described(key, public), lambda: line(str(public)), as_json=as_json)


def _keep(name: str, key: PrivateKey, *, no_passphrase: bool, passphrase_file: Path | None, as_json: bool) -> None:
    if not is_segment(name):
        raise UsageError("invalid-name", f"{name[:80]!r} is not a key name", why="use a-z, 0-9 and inner hyphens")
    path = Folders.of_user().keys / name
    if path.exists():
        raise UsageError("key-exists", f"there is a key {name!r} already", why=str(path), next="choose another name")
    passphrase = None if no_passphrase else passphrase_for(name, passphrase_file, confirm=True)
    if passphrase is not None and not passphrase:
        raise UsageError("passphrase-needed", "the passphrase is empty", next="give one, or say --no-passphrase")
    write_atomic(path, key.to_openssh(passphrase), mode=0o600)
    write_atomic(path.with_name(f"{name}.pub"), f"{key.public}\n".encode())
    if passphrase is None:
        warn(f"{path} is not encrypted")
    emit(_described(name, key.public), lambda: line(str(key.public)), as_json=as_json)


def _public(path: Path) -> PublicKey:
    data = path.read_bytes()
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    return (
        PublicKey.parse(text) if text.startswith(tuple(f"{scheme}:" for scheme in SCHEMES)) else read_public_key(data)
    )


def _described(name: str, key: PublicKey) -> JsonValue:
    return {"name": name, "public": str(key), "id": key.id, "scheme": key.scheme}
