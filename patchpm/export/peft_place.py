"""Whether position 0, where PEFT puts its prompt, is an anchor of patchpm; the base's tokenizer decides."""

from __future__ import annotations

from pathlib import Path

from patchpm.export.tokenizer_files import load_tokenizer
from patchpm.model.causal_lm import backend_of
from patchpm.model.text_start import text_frame


def text_head(folder: Path) -> tuple[int, ...]:
    """The ids that a base's tokenizer puts before every raw text, such as BOS.

    Where there are none, the anchor `text-start` is position 0, and a prompt of PEFT is a patch at `text-start`, to the
    bit. Where there are some, PEFT stands before them and `text-start` behind them. The anchor `system-start` is never
    position 0: a template puts the tokens that open the system turn before it.

    Args:
        folder: Of the base, with its tokenizer.

    Raises:
        CannotError: `tokenizer-unreadable`, `tokenizer-unsupported`, `anchor-not-found`.
    """
    tokenizer = load_tokenizer(folder)
    head, _ = text_frame(tokenizer, backend_of(tokenizer).post_processor)
    return head
