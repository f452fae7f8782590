"""Perplexity of plain text, read where the patch stands: as the reply in a conversation.

The user asks to continue a passage and gives its opening; the rest of the passage is the reply whose likelihood is
measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from patchpm.evaluate.probes.reading import CONTINUE, Reader, Readings

_OPENING = 100
"""Least length of what the user gives, in characters."""
_PASSAGE = 600
"""Least length of a passage, in characters."""


def passages(reader: Reader) -> Readings:
    """Negative log-likelihood of each passage in nats, and its tokens."""
    texts = join(reader.prompts)
    replies = [[reader.encode(rest)] for _, rest in texts]
    logs = reader.likelihoods(replies, [CONTINUE + opening for opening, _ in texts])
    return Readings(
        {
            "loss": tuple(-float(one.sum()) for (one,) in logs),
            "tokens": tuple(float(len(reply)) for (reply,) in replies),
        }
    )


def join(sentences: Sequence[str]) -> list[tuple[str, str]]:
    """Join sentences, in order, into passages of an opening and a continuation."""
    found = []
    opening, rest = "", ""
    for sentence in sentences:
        if len(opening) < _OPENING:
            opening = f"{opening} {sentence}".strip()
            continue
        rest = f"{rest} {sentence}".strip()
        if len(opening) + len(rest) >= _PASSAGE:
            found.append((opening, rest))
            opening, rest = "", ""
    return found
