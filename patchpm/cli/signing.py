"""Private keys of the command line: where they are, and how they are unlocked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from patchpm.errors import CannotError, UsageError
from patchpm.settings import PASSPHRASE_FILE, Folders
from patchpm.trust.private_keys import PrivateKey, is_encrypted, read_private_key

key_option = click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="KEY",
    help="Signing key: a name of `patchpm key list`, or a private key file. Give it again for each signer.",
)
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File whose first line unlocks the keys. Also PATCHPM_PASSPHRASE_FILE.",
)


def load_keys(names: tuple[str, ...], passphrase_file: Path | None) -> list[PrivateKey]:
    """Load private keys by name or path, asking for passphrases where a person can type them.

    Raises:
        CannotError: `no-key`.
        UsageError: `passphrase-needed`, `wrong-passphrase`, `malformed-key`, `unsupported-key`.
    """
    return [load_key(name, passphrase_file) for name in names]


def load_key(name: str, passphrase_file: Path | None) -> PrivateKey:
    """Load one private key by name or path; see `load_keys`."""
    path = Folders.of_user().keys / name
    if "/" in name or not path.is_file():
        path = Path(name).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CannotError(
            "no-key",
            f"there is no key {name!r}",
            why=f"{path}: {error.strerror}",
            next="`patchpm key list` shows what there is, `patchpm key generate NAME` makes one",
        ) from None
    passphrase = passphrase_for(name, passphrase_file) if is_encrypted(data) else None
    return read_private_key(data, passphrase)


def passphrase_for(name: str, passphrase_file: Path | None, *, confirm: bool = False) -> bytes:
    """Get the passphrase of a key: from a file, or from the person at the terminal.

    Raises:
        UsageError: `passphrase-needed` where there is neither.
    """
    file = passphrase_file or (Path(os.environ[PASSPHRASE_FILE]) if PASSPHRASE_FILE in os.environ else None)
    if file is not None:
        try:
            return file.read_bytes().split(b"\n")[0].rstrip(b"\r")
        except OSError as error:
            raise UsageError(
                "passphrase-needed", "the passphrase file cannot be read", why=f"{file}: {error}"
            ) from None
    if not sys.stdin.isatty():
        raise UsageError(
            "passphrase-needed",
            f"the key {name!r} needs a passphrase, and nobody can type it here",
            next="give --passphrase-file FILE, or --no-passphrase where a new key is made",
        )
    prompt = f"Passphrase of {name}"
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)).encode()
