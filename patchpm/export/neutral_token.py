"""The token whose row in a model's head stands in for those of the prefix tokens, so that they are never sampled.

A prefix token needs a row in the head as well, and what the model never produces is what it learned never to produce.
No text in UTF-8 contains certain bytes. A vocabulary that falls back to bytes has tokens for them all the same, and
training has pushed these down at every position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_BYTES: Final = (0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8, 0xF7, 0xF6, 0xF5, 0xC1, 0xC0)
"""Bytes that no UTF-8 text contains, those farthest from any that one does first."""


def neutral_token(tokens: Sequence[str], *, byte_level: bool) -> int | None:
    """The id of a token that stands for a byte of no text, or None where the vocabulary has none.

    Args:
        tokens: The vocabulary by id.
        byte_level: Whether it spells bytes as letters, as GPT-2 does (0xFF is \N{LATIN SMALL LETTER Y WITH DIAERESIS}),
            rather than as `<0xFF>`.
    """
    ids = {token: number for number, token in reversed(list(enumerate(tokens)))}
    for byte in _BYTES:
        number = ids.get(chr(byte) if byte_level else f"<0x{byte:02X}>")
        if number is not None:
            return number
    return None
