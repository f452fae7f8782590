"""`patchpm export gguf`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.extra import needs_extra
from patchpm.cli.locked_gguf import LockedGguf, locked_gguf
from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import emit, line, note, progress
from patchpm.errors import UsageError

if TYPE_CHECKING:
    from patchpm.export.patched_gguf import PatchedGguf, PlacedInGguf
    from patchpm.patch.strict_json import JsonValue

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)
force_option = click.option("--force", is_flag=True, help="Replace what is there already.")
"""Also of `patchpm export ollama`."""


@click.command("gguf", epilog="Example: patchpm export gguf patched.gguf --gguf SmolLM2-135M-Instruct.Q4_1.gguf")
@click.argument("out", type=_NEW_FILE)
@click.option("--gguf", "stock", type=_FILE, help="The stock file (default: the project's base, where it is one).")
@click.option("--base", "label", metavar="NAME", help="Which base of the project, where it has several.")
@click.option("--tied", is_flag=True, help="Give a tied model no head of its own: smaller, and for llama.cpp only.")
@click.option("--delta", type=_NEW_FILE, help="Also write a small file that makes OUT from the stock file.")
@click.option("--from-delta", type=_FILE, help="Make OUT from --gguf and such a file; needs no project.")
@force_option
@project_option
@json_option
def command(
    out: Path,
    stock: Path | None,
    label: str | None,
    tied: bool,
    delta: Path | None,
    from_delta: Path | None,
    force: bool,
    folder: Path,
    as_json: bool,
) -> None:
    """Write the base model with the locked patch set as one GGUF file OUT, for llama.cpp.

    Any quantisation will do. The rows of the patches are stored in Q8_0 or better; a token embedding of fewer bits is
    stored as Q8_0 with them. Everything else is copied byte by byte.
    """
    check_new(*(path for path in (out, delta) if path is not None), force=force)
    if from_delta is not None:
        if stock is None or label or tied or delta:
            raise UsageError(
                "wrong-options",
                "--from-delta goes with --gguf only",
                why="the delta says everything else",
                next="patchpm export gguf OUT --gguf STOCK --from-delta DELTA",
            )
        _rebuild(from_delta, stock, out, as_json=as_json)
        return
    locked = locked_gguf(folder, label, stock)
    with needs_extra("model"):
        from patchpm.export.patched_gguf import write_patched_gguf

        place = placed_model(locked)
        with progress(f"writing {out.name}", unit="bytes") as advance:
            made = write_patched_gguf(place, out, locked.digest, untie=not tied, delta=delta, progress=advance)
    emit(figures(out, place, made), lambda: _say(out, place, made, delta), as_json=as_json)


def check_new(*files: Path, force: bool) -> None:
    """Refuse to replace a file that nobody said may go.

    Raises:
        UsageError: `output-exists`.
    """
    for path in files:
        if path.exists() and not force:
            raise UsageError(
                "output-exists", f"{path} is there already", next="name another file, or say --force to replace it"
            )


def placed_model(locked: LockedGguf) -> PlacedInGguf:
    """Place the set in the stock file; also what `patchpm export ollama` begins with.

    Raises:
        IntegrityError: As `place_in_gguf`.
        CannotError: As `place_in_gguf`.
    """
    from patchpm.export.patched_gguf import place_in_gguf

    return place_in_gguf(locked.path, locked.patches, folder=locked.tokenizer)


def figures(out: Path, place: PlacedInGguf, made: PatchedGguf) -> dict[str, JsonValue]:
    """What was written, as data."""
    patches = place.placed.patches
    return {
        "path": str(out),
        "set": str(patches.digest),
        "patches": [f"{patch.name} {patch.version}" for patch in patches.patches],
        "tokens": patches.tokens,
        "first-token": place.placed.first,
        "tied": made.tied,
        "size": made.written.size,
        "copied": made.written.copied,
        "requantised": made.written.requantised,
        "delta": made.delta,
    }


def _say(out: Path, place: PlacedInGguf, made: PatchedGguf, delta: Path | None) -> None:
    patches = place.placed.patches
    line(f"{out}  {made.written.size:,} bytes")
    line(f"  {', '.join(f'{patch.name} {patch.version}' for patch in patches.patches)}: {patches.tokens} tokens")
    line(f"  patch set {patches.digest}")
    if made.written.requantised:
        note(f"  the token embedding became Q8_0: {made.written.requantised:,} bytes")
    if place.placed.placement.note:
        note(f"  {place.placed.placement.note}")
    if made.tied:
        note("  llama.cpp (b9490 or later) never samples the tokens of the patches, but counts them in logprobs;")
        note("  for other engines, or for logprobs as the model means them, export without --tied")
    if delta is not None:
        line(f"{delta}  {made.delta:,} bytes")


def _rebuild(delta: Path, stock: Path, out: Path, *, as_json: bool) -> None:
    with needs_extra("model"):
        from patchpm.export.gguf_delta import apply_delta, read_delta
        from patchpm.export.patched_gguf import refuse_same_file

        plan = read_delta(delta)
        refuse_same_file(stock, delta, out)
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
