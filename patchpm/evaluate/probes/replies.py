"""Greedy replies: whether they refuse, how long they are and how much they repeat themselves."""

from __future__ import annotations

from patchpm.evaluate.probes.reading import Reader, Readings
from patchpm.evaluate.refusal import is_refusal
from patchpm.train.replies import greedy_replies

TOKENS = 32
"""Length of a judged reply."""


def replies(reader: Reader) -> Readings:
    """Ask everything."""
    found = greedy_replies(reader.model, reader.prefix, reader.prompts, tokens=TOKENS, progress=reader.progress)
    texts = tuple(reader.model.frame.decode(reply.ids) for reply in found)
    return Readings(
        {
            "refused": tuple(float(is_refusal(text)) for text in texts),
            "repetition": tuple(repetition(text) for text in texts),
            "length": tuple(float(len(reply.ids)) for reply in found),
        },
        replies=tuple(reply.ids for reply in found),
        texts=texts,
    )


def repetition(text: str) -> float:
    """Share of a text's word trigrams that stood in it before; 0 for a text of fewer than three words."""
    words = text.lower().split()
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0
