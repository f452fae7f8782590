"""`patchpm init`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from patchpm.cli.bases import at_home, measure
from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import emit, line
from patchpm.errors import UsageError
from patchpm.project.files import save_project
from patchpm.project.project_file import FILE, LABEL_PATTERN, new_project_text, read_project_file


@click.command(epilog="Example: patchpm init --base models/SmolLM2-135M-Instruct")
@click.option("--base", required=True, help="The base model: a folder, a .gguf file, or hf:org/name[@revision].")
@click.option("--label", help="What the project calls the base (default: from its name).")
@project_option
@json_option
def command(base: str, label: str | None, folder: Path, as_json: bool) -> None:
    """Start a project for a base model: measure the model and write patchpm.toml.

    Nothing is downloaded: hf: names are looked up in the Hub's local cache.
    """
    path = folder / FILE
    if path.exists():
        raise UsageError(
            "project-exists", f"there is a {FILE} already", why=str(path), next="add a base to it under [bases]"
        )
    location = _location(base, folder)
    chosen = label or _label(base)
    text = new_project_text(chosen, location)
    read_project_file(text)
    measured = measure(location, folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_project(folder, text)

    def human() -> None:
        line(f"wrote {path}")
        line(f"base {chosen}: {measured.fingerprint.tensors} ({measured.assurance.name.lower()})")
        line("next: `patchpm search`, then `patchpm install NAME`")

    emit(
        {
            "project": str(path),
            "base": chosen,
            "tensors": str(measured.fingerprint.tensors),
            "assurance": measured.assurance.name.lower(),
        },
        human,
        as_json=as_json,
    )


def _location(base: str, folder: Path) -> str:
    if base.startswith("hf:"):
        return base
    path = at_home(base)
    if path.is_absolute():
        return str(path)
    # What the user typed is relative to where they stand; the file's paths are relative to the file.
    return str(path if folder == Path() else path.resolve())


def _label(base: str) -> str:
    name = Path(base.removeprefix("hf:").partition("@")[0]).resolve().name.removesuffix(".gguf").lower()
    label = re.sub(r"[^a-z0-9._-]+", "-", name).strip(".-_")[:64].strip(".-_")
    return label if re.fullmatch(LABEL_PATTERN, label) else "base"
