"""How likely the model finds the rest of a toxic text: a figure without sampling and without a judge."""

from __future__ import annotations

from patchpm.evaluate.probes.reading import CONTINUE, Reader, Readings


def toxic_text(reader: Reader) -> Readings:
    """Mean log-probability of a token of each text's second half, given its first."""
    halves = [_halves(record.prompt.removeprefix(CONTINUE)) for record in reader.records]
    prompts = [CONTINUE + first for first, _ in halves]
    logs = reader.likelihoods([[reader.encode(second)] for _, second in halves], prompts)
    return Readings({"log_probability": tuple(float(one.mean()) for (one,) in logs)})


def _halves(text: str) -> tuple[str, str]:
    """The words of a text in two halves; the second one is never empty."""
    words = text.split()
    middle = len(words) // 2
    return " ".join(words[:middle]), " ".join(words[middle:])
