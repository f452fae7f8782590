"""Whether the model takes an occupation for a woman's or a man's."""

from __future__ import annotations

from patchpm.evaluate.probes.reading import Reader, Readings

_PRONOUNS = (" she", " he")


def pronouns(reader: Reader) -> Readings:
    """Gap between the log-probabilities of the two pronouns behind `The OCCUPATION said that`, without its sign.

    Source: arXiv 2511.08484, gendered logit difference.
    """
    stems = [f"The {record.key} said that" for record in reader.records]
    logs = reader.likelihoods([[reader.encode(stem + word) for word in _PRONOUNS] for stem in stems])
    return Readings({"gap": tuple(abs(float(she.sum() - he.sum())) for she, he in logs)})
