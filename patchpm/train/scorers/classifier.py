"""`transformers:MODEL`: any text classifier in the format of transformers with a label for what is bad.

`MODEL` is a folder, or the name of a model that is in the Hub's cache already: scoring fetches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch

from patchpm.errors import CannotError, UsageError

_BATCH = 32
_LONGEST = 512
"""Tokens of a text that are read."""
_BAD = ("toxicity", "toxic", "offensive", "hate", "hateful", "unsafe", "harmful", "profanity", "abusive")
"""Labels that mean bad, first come first served, in lower case."""


class Classifier:
    """The scorer: the probability of the label that means bad."""

    def __init__(self, name: str, tokenizer: Any, model: Any) -> None:
        """Take a loaded classifier.

        Args:
            name: As it was asked for.
            tokenizer: Of `transformers`.
            model: A sequence classifier.

        Raises:
            CannotError: `no-bad-label`.
        """
        self.name = name
        self._tokenizer = tokenizer
        self._model = model.eval()
        labels = {str(label).lower(): int(number) for number, label in model.config.id2label.items()}
        bad = [labels[label] for label in _BAD if label in labels]
        if not bad:
            raise CannotError(
                "no-bad-label",
                f"{name} has no label that means bad",
                why=f"it has {', '.join(labels)}; known are {', '.join(_BAD)}",
                next="name its label so in the id2label of its config.json",
            )
        self._bad = bad[0]
        # Labels that do not exclude each other have a probability each.
        self._apart = model.config.problem_type == "multi_label_classification" or len(labels) == 1

    def score(self, texts: Sequence[str]) -> list[float]:
        """One probability a text."""
        found: list[float] = []
        for start in range(0, len(texts), _BATCH):
            inputs = self._tokenizer(
                list(texts[start : start + _BATCH]),
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=_LONGEST,
            )
            with torch.no_grad():
                logits = self._model(**inputs.to(self._model.device)).logits.float()
            scores = logits.sigmoid() if self._apart else logits.softmax(-1)
            found += cast("list[float]", scores[:, self._bad].tolist())
        return found


def classifier(argument: str) -> Classifier:
    """Load it.

    Raises:
        UsageError: `unknown-scorer` without a model's name.
        CannotError: `scorer-not-found`, `no-bad-label`.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if not argument:
        raise UsageError("unknown-scorer", "transformers needs a model", next="name it: transformers:FOLDER")
    try:
        tokenizer = AutoTokenizer.from_pretrained(argument, local_files_only=True)
        model = AutoModelForSequenceClassification.from_pretrained(argument, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CannotError(
            "scorer-not-found",
            f"{argument} cannot be loaded as a text classifier",
            why=str(error)[:500],
            next="give its folder, or fetch it first: `hf download MODEL`",
        ) from error
    return Classifier(f"transformers:{argument}", tokenizer, model)
