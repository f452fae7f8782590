"""`patchpm export hf`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.extra import needs_extra
from patchpm.cli.locked_set import locked_set
from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import emit, line, note, progress
from patchpm.errors import CannotError


@click.command("hf", epilog="Example: patchpm export hf patched/ && vllm serve patched/")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--base", help="Which base of the project (default: its only one).")
@click.option("--copy", is_flag=True, help="Copy weight files that do not change, rather than hard-link them.")
@click.option("--force", is_flag=True, help="Replace an earlier export at OUT.")
@click.option("--check", is_flag=True, help="Load the model, and compare it with the base on explicit embeddings.")
@project_option
@json_option
def command(out: Path, base: str | None, copy: bool, force: bool, check: bool, folder: Path, as_json: bool) -> None:
    """Write the patched model to the folder OUT, for vLLM, `transformers serve` and whatever loads model folders.

    Only the files that hold the embedding and the head are written. The others are reflinks or hard links to those of
    the base, where the file system can.
    """
    locked = locked_set(folder, base)
    if locked.base.kind != "safetensors":
        raise CannotError(
            "not-a-folder",
            f"{locked.base.source} is a GGUF file, which becomes another one",
            next="run `patchpm export gguf`, or give the safetensors folder of the model as base",
        )
    with needs_extra("model"):
        from patchpm.export.hf_folder import export_hf
        from patchpm.model.hash_cache import HashCache
    with progress(f"writing {out}", unit="bytes") as advance:
        made = export_hf(
            locked.base.source,
            locked.patches,
            locked.base.fingerprint,
            out,
            link=not copy,
            replace=force,
            cache=HashCache.of_user(),
            progress=advance,
        )
    difference = None
    if check:
        from patchpm.export.forward_check import largest_difference

        difference = largest_difference(out, locked.base.source, locked.patches)
    if made.note:
        note(made.note)
    found = made.provenance

    def human() -> None:
        names = ", ".join(f"{patch.name} {patch.version}" for patch in found.patches)
        line(f"wrote {out}: {names}")
        line(f"  {found.run_tokens} tokens at {found.anchor}, ids {found.first_id} to {found.first_id + found.ids - 1}")
        line(f"  {made.written / 1e6:,.1f} MB written, {made.linked / 1e6:,.1f} MB linked")
        if difference is not None:
            line(f"  largest difference to the base on explicit embeddings: {difference:.2g}")

    emit(
        {
            "folder": str(out),
            "set": str(found.set),
            "tokens": found.run_tokens,
            "first_id": found.first_id,
            "vocabulary": made.vocabulary,
            "grown": made.grown,
            "untied": made.untied,
            "bytes_written": made.written,
            "bytes_linked": made.linked,
            "files": {str(way): count for way, count in made.ways},
            "note": made.note,
            **({} if difference is None else {"largest_difference": difference}),
        },
        human,
        as_json=as_json,
    )
