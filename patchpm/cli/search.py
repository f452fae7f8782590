"""`patchpm search`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.options import json_option, offline_option, project_option
from patchpm.cli.output import columns, emit, note
from patchpm.cli.session import Session
from patchpm.registry.index import ReleaseEntry


@click.command(epilog="Example: patchpm search toxic")
@click.argument("words", nargs=-1)
@offline_option
@project_option
@json_option
def command(words: tuple[str, ...], offline: bool, folder: Path, as_json: bool) -> None:
    """Find patches whose name, domain, summary or base holds every one of WORDS; without any, all of them."""
    session = Session(folder, offline=offline)
    found = []
    for name in session.catalogue.names():
        entries = [entry for entry in session.catalogue.entries(name) if entry.yanked is None]
        if entries and all(_holds(entries, word.lower()) for word in words):
            found.append(sorted(entries, key=lambda entry: (entry.version, entry.base.name)))

    def human() -> None:
        columns(
            [
                (
                    str(entries[-1].name),
                    str(entries[-1].version),
                    entries[-1].domain,
                    ", ".join(sorted({entry.base.name for entry in entries})),
                    entries[-1].summary,
                )
                for entries in found
            ],
            ("patch", "newest", "domain", "bases", "summary"),
        )
        if not found:
            note("nothing found; `patchpm trust show` lists the registries that were asked")

    emit(
        [
            {
                "name": str(entries[-1].name),
                "newest": str(entries[-1].version),
                "domain": entries[-1].domain,
                "summary": entries[-1].summary,
                "bases": [*sorted({entry.base.name for entry in entries})],
                "registry": entries[-1].registry,
            }
            for entries in found
        ],
        human,
        as_json=as_json,
    )


def _holds(entries: list[ReleaseEntry], word: str) -> bool:
    return any(word in f"{entry.name} {entry.domain} {entry.summary} {entry.base.name}".lower() for entry in entries)
