"""`patchpm tree`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import bold, emit, line
from patchpm.patch.name import PatchName
from patchpm.patch.strict_json import JsonValue
from patchpm.project.files import load_lock
from patchpm.project.lock import Composition, Lock
from patchpm.project.project_file import load_project_file


@click.command(epilog="Example: patchpm tree")
@project_option
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Show which patch requires which, from the project file down."""
    _, project = load_project_file(folder)
    lock = load_lock(folder)

    def human() -> None:
        for composition in lock.compositions:
            line(f"{bold(composition.base)}  {composition.tokens} tokens at {composition.anchor}")
            for text in _branches(lock, composition, list(project.patches), "", ()):
                line(text)

    emit([_json(lock, item, list(project.patches)) for item in lock.compositions], human, as_json=as_json)


def _branches(
    lock: Lock, composition: Composition, names: list[PatchName], indent: str, above: tuple[PatchName, ...]
) -> Iterator[str]:
    """Lines below one node; `above` guards against patches that require each other."""
    for number, name in enumerate(names):
        release = lock.release(name, composition.base)
        if release is None:
            continue
        last = number == len(names) - 1
        yield f"{indent}{'└── ' if last else '├── '}{name} {release.version}  ({release.tokens} tokens)"
        required = [required for required, _ in release.requires]
        if name not in above:
            yield from _branches(lock, composition, required, indent + ("    " if last else "│   "), (*above, name))


def _json(lock: Lock, composition: Composition, roots: list[PatchName]) -> JsonValue:
    def node(name: PatchName, above: tuple[PatchName, ...] = ()) -> JsonValue:
        release = lock.release(name, composition.base)
        if release is None:
            return {"name": str(name)}
        return {
            "name": str(name),
            "version": str(release.version),
            "tokens": release.tokens,
            "requires": [] if name in above else [node(required, (*above, name)) for required, _ in release.requires],
        }

    return {
        "base": composition.base,
        "anchor": composition.anchor,
        "tokens": composition.tokens,
        "digest": str(composition.digest),
        "patches": [node(name) for name in roots],
    }
