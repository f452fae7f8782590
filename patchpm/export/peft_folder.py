"""A patch set as a folder that PEFT loads, with a page that says what PEFT then does differently."""

from __future__ import annotations

from typing import Final

import torch

from patchpm.errors import CannotError
from patchpm.export.peft_adapter import adapter_files
from patchpm.model.loaded import PatchSet

README: Final = "README.md"
FAULTS: Final = (
    "generate with transformers 5.24 or newer: PEFT 0.21 repeats the prompt at every token; use_cache=False helps",
    "left padding: PEFT drops the position ids, and logits of padded rows are wrong (by 0.98 where measured)",
    "one adapter at a time: PEFT cannot put a second prompt beside this one",
    "no static cache: PEFT sizes it without the prompt, and generation fails",
    "no check: several releases of PEFT and transformers left the prompt out of generate without a word",
)
"""What PEFT's runtime is known to do wrong. Measured with PEFT 0.21.2 and transformers 5.23 and 5.24."""
_ELSEWHERE: Final = (
    "another place: PEFT puts the prompt at position 0, and these patches were trained and measured {place}; "
    "at position 0 they are other patches, and their claims do not hold"
)
_PLACES: Final = {
    "system-start": "at the start of the system text",
    "text-start": "behind the token that starts a text",
}


def peft_folder(patches: PatchSet, base: str, *, text_head: tuple[int, ...]) -> tuple[dict[str, bytes], list[str]]:
    """Make the files of an adapter that is the whole set, its patches in order.

    Args:
        patches: The set.
        base: What the adapter calls its base.
        text_head: Ids that the base's tokenizer puts before a raw text; where there are none, position 0 is the anchor
            `text-start`.

    Returns:
        The files by name, and the warnings that its user must know, the gravest first.

    Raises:
        CannotError: `separator-not-exportable`.
    """
    for patch in patches.patches:
        if patch.separator:
            raise CannotError(
                "separator-not-exportable",
                f"{patch.name} needs the text {patch.separator!r} behind it",
                why="an adapter of PEFT is a matrix, with no text behind it",
                next="apply it with patchpm, or export another patch with --patch NAME",
            )
    warnings = list(FAULTS)
    if patches.anchor != "text-start" or text_head:
        warnings.insert(0, _ELSEWHERE.format(place=_PLACES[patches.anchor]))
    types = {patch.rows.dtype for patch in patches.patches}
    rows = torch.cat([patch.rows if len(types) == 1 else patch.rows.float() for patch in patches.patches])
    page = _page(patches, warnings)
    return {**adapter_files(rows, base, patches.anchor), README: page.encode()}, warnings


def _page(patches: PatchSet, warnings: list[str]) -> str:
    listed = "\n".join(
        f"- {patch.name} {patch.version}, {patch.tokens} tokens, `{patch.digest}`" for patch in patches.patches
    )
    differs = "\n".join(f"- {warning[0].upper()}{warning[1:]}." for warning in warnings)
    return f"""\
---
library_name: peft
---

# Safety patches as a PEFT adapter

Patch set `{patches.digest}` at {patches.anchor}, in this order:

{listed}

It is not signed in this form: the signed releases are what the project's `patchpm.lock` pins.

## What PEFT does differently

{differs}

`patchpm.apply` has none of these faults.
"""
