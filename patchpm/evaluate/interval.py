"""95 % intervals: Wilson's for shares, the bootstrap for perplexity."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""
_DRAWS = 2000


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    Args:
        hits: How often it happened.
        n: Out of how many, at least 1.

    Source: E. B. Wilson, 1927; no continuity correction.
    """
    share = hits / n
    scale = 1 + Z * Z / n
    centre = (share + Z * Z / (2 * n)) / scale
    half = Z / scale * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_perplexity(losses: Sequence[float], tokens: Sequence[int]) -> tuple[float, float]:
    """The 95 % interval of perplexity, by drawing passages with replacement.

    Args:
        losses: Negative log-likelihood of each passage, in nats.
        tokens: Tokens of each passage.
    """
    dice = random.Random(0)
    passages = range(len(losses))
    found = []
    for _ in range(_DRAWS):
        drawn = dice.choices(passages, k=len(losses))
        found.append(math.exp(sum(losses[number] for number in drawn) / sum(tokens[number] for number in drawn)))
    found.sort()
    return found[round(0.025 * (_DRAWS - 1))], found[round(0.975 * (_DRAWS - 1))]
