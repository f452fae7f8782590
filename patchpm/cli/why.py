"""`patchpm why`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import emit, line
from patchpm.errors import CannotError
from patchpm.patch.name import PatchName
from patchpm.patch.requirement import Requirement
from patchpm.project.files import load_lock
from patchpm.project.lock import Lock
from patchpm.project.project_file import ProjectFile, load_project_file


@click.command(epilog="Example: patchpm why patchpm/harmfulness")
@click.argument("patch")
@project_option
@json_option
def command(patch: str, folder: Path, as_json: bool) -> None:
    """Show every chain of requirements that brings PATCH into the lock."""
    _, project = load_project_file(folder)
    lock = load_lock(folder)
    wanted = Requirement.parse(patch)
    names = [n for n in lock.versions() if n.name == wanted.name and wanted.vendor in (None, n.vendor)]
    if not names:
        raise CannotError("not-locked", f"{patch} is not in the lock", next="`patchpm list` shows what is")
    chains = [chain for name in names for chain in _chains(project, lock, name, ())]

    def human() -> None:
        for chain in chains:
            for depth, text in enumerate(chain):
                line("  " * depth + text)

    emit([list(chain) for chain in chains], human, as_json=as_json)


def _chains(project: ProjectFile, lock: Lock, name: PatchName, below: tuple[PatchName, ...]) -> list[tuple[str, ...]]:
    """Chains from the project file down to `name`; `below` guards against patches that require each other."""
    version = lock.versions()[name]
    found: list[tuple[str, ...]] = []
    if name in project.patches:
        found.append((f"{project.origin(name)} asks for {name} {project.patches[name]}, locked at {version}",))
    for release in {item.name: item for item in lock.releases}.values():
        for required, wanted in release.requires:
            if required == name and release.name not in below:
                found += [
                    (*chain, f"{release.name} {release.version} requires {name} {wanted}, locked at {version}")
                    for chain in _chains(project, lock, release.name, (*below, name))
                ]
    return found
