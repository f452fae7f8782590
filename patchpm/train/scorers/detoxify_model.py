"""`detoxify`: the toxicity classifiers of Unitary, through their library, where the user has it.

`detoxify` is the model `original`; `detoxify:unbiased` another one. The library fetches its weights on first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from patchpm.errors import UsageError

_BATCH = 32
_MODELS = ("original", "unbiased", "multilingual", "original-small", "unbiased-small")


class DetoxifyModel:
    """The scorer: the probability of the label `toxicity`."""

    def __init__(self, name: str, model: Any) -> None:
        """Take the library's predictor."""
        self.name = name
        self._model = model

    def score(self, texts: Sequence[str]) -> list[float]:
        """One probability a text."""
        found: list[float] = []
        for start in range(0, len(texts), _BATCH):
            scores = self._model.predict(list(texts[start : start + _BATCH]))["toxicity"]
            found += [float(score) for score in scores]
        return found


def detoxify_model(argument: str) -> DetoxifyModel:
    """Load it.

    Raises:
        UsageError: `unknown-scorer` for a model that the library does not have.
    """
    from detoxify import Detoxify

    kind = argument or _MODELS[0]
    if kind not in _MODELS:
        raise UsageError("unknown-scorer", f"detoxify has no model {kind}", next=f"known are {', '.join(_MODELS)}")
    return DetoxifyModel(f"detoxify:{argument}" if argument else "detoxify", Detoxify(kind))
