"""`patchpm publish`."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import click

from patchpm.cli.changing import outcome, vendor_options, writer_of
from patchpm.cli.output import columns, emit, line, note, plain
from patchpm.cli.release_folder import read_release_folder
from patchpm.cli.signing import load_keys
from patchpm.patch.manifest_json import read_manifest
from patchpm.patch.strict_json import JsonValue
from patchpm.registry.host import Change, Host
from patchpm.registry.hub import HubHost

_NUMBERED = re.compile(r"metadata/([0-9]+)\.(.+)")
_MAX_SHOWN = 16 * 1024 * 1024


@click.command(
    "publish",
    epilog="Example: patchpm publish release --registry corp --key acme --key online\n\n"
    "Example: patchpm publish release --registry hf://acme/patchpm-registry --key acme --key online --dry-run",
)
@click.argument("release", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show every file that would be written, and the changes, and write none.")
@vendor_options
def command(
    release: Path,
    url: str,
    keys: tuple[str, ...],
    pull_request: bool,
    passphrase_file: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add the release in folder RELEASE, as `patchpm pack` makes it. The same bytes again change nothing.

    A publisher that was cut off runs it again: what was done is found and kept.
    """
    files = read_release_folder(release)
    manifest = read_manifest(files.manifest)
    writer = writer_of(url, load_keys(keys, passphrase_file), pull_request=pull_request)
    name = f"{manifest.name} {manifest.version} for {manifest.base.name}"
    shown = {"name": str(manifest.name), "version": str(manifest.version)}
    if dry_run:
        changes = writer.preview(files)
        if isinstance(writer.host, HubHost):
            changes = (*changes, *writer.host.pages(changes))
        emit(
            {**shown, "dry_run": True, "files": [_described(writer.host, change) for change in changes]},
            lambda: _show(writer.host, name, changes),
            as_json=as_json,
        )
        return
    published = writer.publish(files)
    known = f"{name} was published already, with these very bytes"
    text = outcome(writer, published, f"published {name}") if published else known
    emit({**shown, "changed": published, "proposal": writer.proposal}, lambda: line(text), as_json=as_json)


def _show(host: Host, name: str, changes: Sequence[Change]) -> None:
    if not changes:
        line(f"{name} was published already, with these very bytes")
        return
    line(f"publishing {name} to {host.where} would write")
    columns([(path, f"{len(data):,} bytes") for path, data in changes])
    for path, data in changes:
        for text in _difference(host, path, data):
            line(plain(text))
    note("dry run: nothing was written")


def _described(host: Host, change: Change) -> JsonValue:
    path, data = change
    return {"path": path, "bytes": len(data), "diff": [*_difference(host, path, data)]}


def _difference(host: Host, path: str, data: bytes) -> Sequence[str]:
    """What a metadata file changes against the one that it follows, as lines of a unified diff without context."""
    numbered = _NUMBERED.fullmatch(path)
    before = f"metadata/{int(numbered[1]) - 1}.{numbered[2]}" if numbered else path
    if not before.startswith("metadata/"):
        return ()
    old = host.read(before, _MAX_SHOWN)
    lines = ([] if old is None else _lines(old), _lines(data))
    return [text.rstrip("\n") for text in difflib.unified_diff(*lines, before, path, n=0) if not text.startswith("@@")]


def _lines(data: bytes) -> list[str]:
    return json.dumps(json.loads(data)["signed"], indent=2).splitlines(keepends=True)
