"""An adapter of PEFT as the ingredients of a release, with drafts of what the adapter does not say."""

from __future__ import annotations

from patchpm.errors import UsageError
from patchpm.export.peft_adapter import PeftAdapter
from patchpm.patch import strict_json
from patchpm.patch.packing import DESCRIPTION, TRAINING
from patchpm.patch.prefix import inspect_prefix, write_prefix
from patchpm.patch.record import is_printable
from patchpm.patch.release import PREFIX

_DESCRIPTION = """\
# A draft: fill in what is empty, and check the rest. Then `patchpm pack` can read it.
name = ""          # yours: "vendor/name"
version = "1.0.0"
domain = ""        # toxicity, bias, harmfulness, privacy, backdoor, or x-...
summary = ""       # one line for people
licence = ""       # SPDX, such as "Apache-2.0"
base = "{base}"
anchors = ["{anchor}"]{note}
"""
_NOTE = """
# It was trained elsewhere (PEFT puts its prompt at position 0): here it is another patch until you have measured it."""


def choose_anchor(wanted: str | None, adapter: PeftAdapter, text_head: tuple[int, ...]) -> tuple[str, bool]:
    """The anchor that an adapter gets, and whether it was trained there.

    Args:
        wanted: What the user asks for, if anything.
        adapter: What was read.
        text_head: Ids that the base's tokenizer puts before a raw text.

    Raises:
        UsageError: `which-anchor` where no anchor is the place that PEFT trained it at, and none is asked for.
    """
    trained = adapter.anchor or (None if text_head else "text-start")
    if wanted is None and trained is None:
        raise UsageError(
            "which-anchor",
            "no anchor of patchpm is where PEFT trained this adapter",
            why="PEFT puts its prompt at position 0, before the token that starts every text of this base; text-start "
            "is behind that token, and system-start inside the system turn",
            next="choose --anchor text-start or --anchor system-start, and measure it there before you publish it",
        )
    return str(wanted or trained), wanted is None or wanted == trained


def draft_release(adapter: PeftAdapter, *, base: str, anchor: str, exact: bool) -> dict[str, bytes]:
    """Make `prefix.safetensors`, and drafts of `patch.toml` and `training.json`; claims must be measured.

    Args:
        adapter: What was read.
        base: Name of the base model.
        anchor: Where the prefix is to stand.
        exact: Whether it was trained there.

    Raises:
        UsageError: `invalid-prefix` for more rows than a patch may have.
        IntegrityError: `malformed-prefix` where a number is not finite.
    """
    prefix = write_prefix(adapter.matrix)
    inspect_prefix(prefix)
    training: strict_json.JsonValue = {
        "method": "prompt tuning with peft",
        "recipe": str(adapter.description),
        "teacher": "not known",
        "seed": 0,
        "code": f"peft {adapter.made_by if is_printable(adapter.made_by[:40]) else ''}"[:45].strip(),
        "data": [],
    }
    description = _DESCRIPTION.format(base=base, anchor=anchor, note="" if exact else _NOTE)
    return {PREFIX: prefix, DESCRIPTION: description.encode(), TRAINING: strict_json.dumps(training)}
