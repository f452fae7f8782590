"""`patchpm deprecate`."""

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
    "deprecate",
    epilog="Example: patchpm deprecate acme/toxicity@1.2.0 --advice 'use 1.3' --registry corp --key acme --key online",
)
@click.argument("release", metavar="VENDOR/NAME[@VERSION]")
@click.option("--advice", help="What to use instead; shown to whoever installs it.")
@click.option("--undo", is_flag=True, help="Take it back.")
@vendor_options
def command(
    release: str,
    advice: str | None,
    undo: bool,
    url: str,
    keys: tuple[str, ...],
    pull_request: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Advise against a version, or all versions, of a patch: it can still be chosen, with a warning."""
    if undo == bool(advice):
        raise UsageError("usage", "say --advice TEXT to deprecate, or --undo to take it back")
    name, _, version = release.partition("@")
    writer = writer_of(url, load_keys(keys, passphrase_file), pull_request=pull_request)
    changed = writer.deprecate(
        PatchName.parse(name), Version.parse(version) if version else None, None if undo else advice
    )
    done = f"{release} is {'no longer ' if undo else ''}deprecated"
    emit(
        {"release": release, "changed": changed, "proposal": writer.proposal},
        lambda: line(outcome(writer, changed, done)),
        as_json=as_json,
    )
