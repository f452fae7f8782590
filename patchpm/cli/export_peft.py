"""`patchpm export peft`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.extra import needs_extra
from patchpm.cli.locked_set import LockedSet, locked_set
from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import emit, line, warn
from patchpm.errors import CannotError, UsageError

if TYPE_CHECKING:
    from patchpm.model.loaded import PatchSet


@click.command("peft", epilog="Example: patchpm export peft out/adapter --patch acme/toxicity")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--patch", "names", multiple=True, metavar="NAME", help="Only this patch of the set. May be repeated.")
@click.option("--base", help="Which base of the project (default: its only one).")
@project_option
@json_option
def command(out: Path, names: tuple[str, ...], base: str | None, folder: Path, as_json: bool) -> None:
    """Write the locked patch set to the new folder OUT as one prompt-tuning adapter of PEFT.

    `PeftModel.from_pretrained(model, OUT)` loads it. It is for tools that read nothing else: PEFT puts the prompt in
    another place than patchpm does, and its runtime has known faults. They are printed, and kept in OUT/README.md.
    """
    locked = locked_set(folder, base)
    with needs_extra("model"):
        from patchpm.export.new_folder import new_folder
        from patchpm.export.peft_folder import peft_folder
    patches = _chosen(locked.patches, names)
    files, warnings = peft_folder(patches, locked.label, text_head=_text_head(locked))
    with new_folder(out) as made:
        for name, data in files.items():
            (made / name).write_bytes(data)
    for text in warnings:
        warn(text)
    emit(
        {
            "folder": str(out),
            "tokens": patches.tokens,
            "patches": [f"{patch.name} {patch.version}" for patch in patches.patches],
            "set": str(patches.digest),
            "warnings": list(warnings),
        },
        lambda: line(f"exported {patches.tokens} tokens of {len(patches.patches)} patches to {out}"),
        as_json=as_json,
    )


def _chosen(patches: PatchSet, names: tuple[str, ...]) -> PatchSet:
    """The named patches of a set, in its order; all of them where none is named."""
    known = [str(patch.name) for patch in patches.patches]
    for name in names:
        if name not in known:
            raise UsageError("unknown-patch", f"{name} is not in the lock", why=f"locked are {', '.join(known)}")
    return replace(patches, patches=tuple(p for p in patches.patches if not names or str(p.name) in names))


def _text_head(locked: LockedSet) -> tuple[int, ...]:
    """Ids before a raw text, for a set at `text-start`; at another anchor they decide nothing."""
    if locked.patches.anchor != "text-start":
        return ()
    if locked.base.kind == "gguf":
        raise CannotError(
            "not-a-folder",
            f"{locked.base.source} is a GGUF file",
            why="where PEFT puts the prompt depends on the tokenizer, and patchpm reads it from a folder",
            next="give the safetensors folder of the model as base",
        )
    with needs_extra("model"):
        from patchpm.export.peft_place import text_head
    return text_head(locked.base.source)
