"""`patchpm yank`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.changing import outcome, vendor_options, writer_of
from patchpm.cli.output import emit, line
from patchpm.cli.signing import load_keys
from patchpm.errors import UsageError
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version


@click.command(
    "yank",
    epilog="Example: patchpm yank acme/toxicity@1.2.0 --reason over-refuses --registry corp --key acme --key online",
)
@click.argument("release", metavar="VENDOR/NAME@VERSION")
@click.option("--reason", help="Shown to whoever has it installed.")
@click.option("--undo", is_flag=True, help="Bring it back.")
@vendor_options
def command(
    release: str,
    reason: str | None,
    undo: bool,
    url: str,
    keys: tuple[str, ...],
    pull_request: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Withdraw one version: it is never chosen anew, and still installs where a lock pins it, with the reason."""
    if undo == bool(reason):
        raise UsageError("usage", "say --reason TEXT to yank, or --undo to bring a version back")
    name, _, version = release.partition("@")
    writer = writer_of(url, load_keys(keys, passphrase_file), pull_request=pull_request)
    changed = writer.yank(PatchName.parse(name), Version.parse(version), None if undo else reason)
    done = f"{name} {version} is {'back' if undo else 'yanked'}"
    emit(
        {"release": release, "changed": changed, "proposal": writer.proposal},
        lambda: line(outcome(writer, changed, done)),
        as_json=as_json,
    )
