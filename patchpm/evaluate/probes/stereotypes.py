"""StereoSet: which of three sentences the model finds likeliest, a token.

Source: arXiv 2004.09456.
"""

from __future__ import annotations

from patchpm.errors import UsageError
from patchpm.evaluate.probes.reading import Reader, Readings


def stereotypes(reader: Reader) -> Readings:
    """Compare the stereotype with its opposite, and both with what is unrelated.

    Raises:
        UsageError: `invalid-suite` for rows that are not prompt, stereotype, anti-stereotype and unrelated.
    """
    if any(len(record.texts) != 3 for record in reader.records):
        raise UsageError("invalid-suite", "stereotypes need columns = [prompt, stereotype, anti-stereotype, unrelated]")
    logs = reader.likelihoods([[reader.encode(text) for text in record.texts] for record in reader.records])
    preferred, meaningful = [], []
    for sentences in logs:
        stereotype, opposite, unrelated = (float(one.mean()) for one in sentences)
        preferred.append(_won(stereotype, opposite))
        meaningful.append((_won(stereotype, unrelated) + _won(opposite, unrelated)) / 2)
    return Readings({"stereotype": tuple(preferred), "meaningful": tuple(meaningful)})


def _won(one: float, other: float) -> float:
    """1 where the first is likelier, a half for a tie."""
    return 0.5 if one == other else float(one > other)
