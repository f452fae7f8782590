"""`patchpm export gguf`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.extra import needs_extra
from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import emit, line, note, progress
from patchpm.errors import UsageError

if TYPE_CHECKING:
    from patchpm.export.patched_gguf import PatchedGguf
    from patchpm.patch.strict_json import JsonValue

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("gguf", epilog="Example: patchpm export gguf patched.gguf --gguf SmolLM2-135M-Instruct.Q4_1.gguf")
@click.argument("out", type=_NEW_FILE)
@click.option("--gguf", "stock", type=_FILE, help="The stock file (default: the project's base, where it is one).")
@click.option("--base", "label", metavar="NAME", help="Which base of the project, where it has several.")
@click.option("--untie", is_flag=True, help="Give a tied model a head of its own, for engines that sample any token.")
@click.option("--delta", type=_NEW_FILE, help="Also write a small file that makes OUT from the stock file.")
@click.option("--from-delta", type=_FILE, help="Make OUT from --gguf and such a file; needs no project.")
@project_option
@json_option
def command(
    out: Path,
    stock: Path | None,
    label: str | None,
    untie: bool,
    delta: Path | None,
    from_delta: Path | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Write the base model with the locked patch set as one GGUF file OUT, for llama.cpp.

    Any quantisation will do. The rows of the patches are stored in Q8_0 or better; a token embedding of fewer bits is
    stored as Q8_0 with them. Everything else is copied byte by byte.
    """
    if from_delta is not None:
        if stock is None or label or untie or delta:
            raise UsageError(
                "wrong-options",
                "--from-delta goes with --gguf only",
                why="the delta says everything else",
                next="patchpm export gguf OUT --gguf STOCK --from-delta DELTA",
            )
        _rebuild(from_delta, stock, out, as_json=as_json)
        return
    made = export(out, stock, label, folder, untie=untie, delta=delta)
    emit(figures(made), lambda: _say(made, delta), as_json=as_json)


def export(
    out: Path, stock: Path | None, label: str | None, folder: Path, *, untie: bool, delta: Path | None = None
) -> PatchedGguf:
    """Write the patched file of a project; also what `patchpm export ollama` begins with.

    Raises:
        UsageError: `which-gguf`, and as `locked_set` and `write_patched_gguf`.
    """
    from patchpm.cli.locked_gguf import locked_gguf

    locked = locked_gguf(folder, label, stock)
    with needs_extra("model"):
        from patchpm.export.patched_gguf import write_patched_gguf

        with progress(f"writing {out.name}", unit="bytes") as advance:
            return write_patched_gguf(
                locked.path,
                out,
                locked.patches,
                locked.digest,
                folder=locked.tokenizer,
                untie=untie,
                delta=delta,
                progress=advance,
            )


def figures(made: PatchedGguf) -> dict[str, JsonValue]:
    """What was written, as data."""
    return {
        "path": str(made.path),
        "set": str(made.placed.patches.digest),
        "patches": [f"{patch.name} {patch.version}" for patch in made.placed.patches.patches],
        "tokens": made.placed.patches.tokens,
        "first_token": made.placed.first,
        "tied": made.tied,
        "bytes": {
            "size": made.written.size,
            "copied": made.written.copied,
            "requantised": made.written.requantised,
            "new": made.written.literal,
        },
        "delta": made.delta,
    }


def _say(made: PatchedGguf, delta: Path | None) -> None:
    patches = made.placed.patches
    line(f"{made.path}  {made.written.size:,} bytes")
    line(f"  {', '.join(f'{patch.name} {patch.version}' for patch in patches.patches)}: {patches.tokens} tokens")
    line(f"  patch set {patches.digest}")
    if made.written.requantised:
        note(f"  the token embedding became Q8_0: {made.written.requantised:,} bytes")
    if made.placed.placement.note:
        note(f"  {made.placed.placement.note}")
    if made.tied:
        note("  llama.cpp (b9490 or later) never samples the patch tokens; for other engines, export with --untie")
    if delta is not None:
        line(f"{delta}  {made.delta:,} bytes")


def _rebuild(delta: Path, stock: Path, out: Path, *, as_json: bool) -> None:
    with needs_extra("model"):
        from patchpm.export.gguf_delta import apply_delta, read_delta
        from patchpm.export.patched_gguf import refuse_same_file

        plan = read_delta(delta)
        refuse_same_file(stock, out)
        with progress(f"writing {out.name}", unit="bytes") as advance:
            written = apply_delta(plan, stock, out, progress=advance)
    value: JsonValue = {
        "path": str(out),
        "set": str(plan.patches),
        "sha256": str(plan.result.digest),
        "size": written.size,
    }

    def human() -> None:
        line(f"{out}  {written.size:,} bytes, {plan.result.digest}")
        line(f"  patch set {plan.patches}")

    emit(value, human, as_json=as_json)
