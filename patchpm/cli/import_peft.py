"""`patchpm import peft`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.bases import measure
from patchpm.cli.extra import needs_extra
from patchpm.cli.options import json_option
from patchpm.cli.output import emit, line, note, warn
from patchpm.errors import CannotError, UsageError
from patchpm.patch.manifest import ANCHORS


@click.command("peft", epilog="Example: patchpm import peft runs/prompt made --base models/SmolLM2-135M-Instruct")
@click.argument("adapter", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--base", required=True, help="The base model that the adapter was trained on.")
@click.option(
    "--anchor", type=click.Choice(ANCHORS), help="Where it is to stand (default: where PEFT trained it, if we have it)."
)
@json_option
def command(adapter: Path, out: Path, base: str, anchor: str | None, as_json: bool) -> None:
    """Turn ADAPTER, a folder that PEFT wrote after prompt tuning, into a prefix in the new folder OUT.

    PEFT trains its prompt at position 0. Where the tokenizer of the base puts nothing before a raw text, that is our
    anchor text-start; otherwise no anchor equals it, and you must choose one and measure there.
    """
    with needs_extra("model"):
        from patchpm.export.new_folder import new_folder
        from patchpm.export.peft_adapter import read_adapter
        from patchpm.export.peft_draft import choose_anchor, draft_release
        from patchpm.export.peft_place import text_head
    read = read_adapter(adapter)
    measured = measure(base, Path())
    if measured.kind == "gguf":
        raise CannotError(
            "not-a-folder",
            f"{measured.source} is a GGUF file, and PEFT trains on none",
            next="give the safetensors folder of the model as base",
        )
    if read.matrix.hidden_size != measured.fingerprint.hidden_size:
        raise UsageError(
            "base-mismatch",
            "this adapter is not for this base model",
            why=f"its rows are {read.matrix.hidden_size:,} wide and the model's embedding "
            f"{measured.fingerprint.hidden_size:,}; it calls its base {read.base or 'nothing'}",
        )
    place, exact = choose_anchor(anchor, read, text_head(measured.source))
    name = base.partition("@")[0].rpartition("/")[2] if base.startswith("hf:") else measured.source.name
    files = draft_release(read, base=name, anchor=place, exact=exact)
    with new_folder(out) as made:
        for file, data in files.items():
            (made / file).write_bytes(data)
    if not exact:
        warn(f"it was trained at another place than {place}: measure it there before you publish it")
    note(f"fill in {out}/patch.toml, check {out}/training.json, and measure claims.json; then `patchpm pack {out}`")
    longest = max(read.matrix.norms())
    note(f"its longest row has a norm of {longest:.3g}; the policy bounds it against the base's when it is applied")
    emit(
        {
            "folder": str(out),
            "tokens": read.matrix.tokens,
            "anchor": place,
            "same_place": exact,
            "longest_row": longest,
        },
        lambda: line(f"imported {read.matrix.tokens} tokens at {place} into {out}"),
        as_json=as_json,
    )
