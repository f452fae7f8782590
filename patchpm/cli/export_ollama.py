"""`patchpm export ollama`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.atomic_write import explained
from patchpm.cli.export_gguf import check_new, figures, force_option, placed_model
from patchpm.cli.extra import needs_extra
from patchpm.cli.locked_gguf import locked_gguf
from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import emit, line, note, progress
from patchpm.errors import UsageError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("ollama", epilog="Example: patchpm export ollama patched && ollama create safer -f patched/Modelfile")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--gguf", "stock", type=_FILE, help="The stock file (default: the project's base, where it is one).")
@click.option("--base", "label", metavar="NAME", help="Which base of the project, where it has several.")
@click.option("--template", type=_FILE, help="A Go template of your own, with {{ $patchpm }} where the patches go.")
@force_option
@project_option
@json_option
def command(
    out: Path, stock: Path | None, label: str | None, template: Path | None, force: bool, folder: Path, as_json: bool
) -> None:
    """Write the base model with the locked patch set, and a Modelfile for it, into the folder OUT.

    Ollama renders conversations with a Go template. It is made from the model's chat template where that goes turn by
    turn. Tools are not in it, and Ollama then refuses requests that bring some.
    """
    locked = locked_gguf(folder, label, stock)
    with needs_extra("model"):
        from patchpm.export.ollama import MODEL, go_template, write_modelfile
        from patchpm.export.patched_gguf import write_patched_gguf

        check_new(out / MODEL, out / "Modelfile", force=force)
        place = placed_model(locked)
        source = go_template(place, None if template is None else _text(template))
        with progress(f"writing {out / MODEL}", unit="bytes") as advance:
            # An earlier one names tokens that the new model does not know, should this be interrupted in between.
            with explained(out):
                (out / "Modelfile").unlink(missing_ok=True)
            made = write_patched_gguf(place, out / MODEL, locked.digest, untie=True, progress=advance)
        write_modelfile(out / "Modelfile", place, source)

    def human() -> None:
        line(f"{out}  {made.written.size:,} bytes")
        line(f"  patch set {locked.patches.digest}")
        if template is not None:
            note(f"  the template is yours, and nothing proves that it writes the patches at {locked.patches.anchor}")

    value = figures(out / MODEL, place, made) | {"modelfile": str(out / "Modelfile")}
    emit(value, human, as_json=as_json)


def _text(template: Path) -> str:
    try:
        return template.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("template-unreadable", f"{template} is not a text in UTF-8", why=str(error)) from error
