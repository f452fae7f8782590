"""`patchpm list`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import columns, emit, line
from patchpm.project.files import load_lock


@click.command(epilog="Example: patchpm list --json")
@project_option
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Show what is locked: the patches of each base in the order in which they stand at the anchor."""
    lock = load_lock(folder)
    rows = [
        (lock.release(name, composition.base), composition)
        for composition in lock.compositions
        for name in composition.order
    ]
    found = [(release, composition) for release, composition in rows if release is not None]

    def human() -> None:
        columns(
            [
                (str(item.name), str(item.version), item.domain, str(item.tokens), item.base, item.registry)
                for item, _ in found
            ],
            ("patch", "version", "domain", "tokens", "base", "registry"),
        )
        if not found:
            line("nothing is locked; `patchpm search` shows what there is")

    emit(
        [
            {
                "name": str(item.name),
                "version": str(item.version),
                "domain": item.domain,
                "tokens": item.tokens,
                "base": item.base,
                "registry": item.registry,
                "anchor": composition.anchor,
                "manifest": str(item.manifest.digest),
            }
            for item, composition in found
        ],
        human,
        as_json=as_json,
    )
