"""`profanity-model`: the linear model of alt-profanity-check, read out of its exact wheel.

It was trained by its authors on 200,000 human-labelled texts (tf-idf of words, linear SVM, calibrated). It looks at
words only, and so it misses what is nasty in clean words.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

from patchpm.errors import CannotError
from patchpm.model.pinned_wheel import PinnedWheel, read_wheel_file
from patchpm.settings import Folders

_WHEEL = PinnedWheel("alt-profanity-check==1.9.1", "cccb8ce072306bac21188670777a25cfb1de978aa8c7a93c8e4a43c03b3945c3")
_FOLDER = "profanity_check/data"


class ProfanityModel:
    """The scorer; its score is the probability that the model gives to a text being offensive."""

    name = "profanity-model"

    def __init__(self, vectorizer: Any, model: Any) -> None:
        """Take the parts.

        Args:
            vectorizer: A fitted `TfidfVectorizer`.
            model: A fitted classifier of two classes.
        """
        self._vectorizer = vectorizer
        self._model = model

    def score(self, texts: Sequence[str]) -> list[float]:
        """One probability a text."""
        if not texts:
            return []
        return [float(pair[1]) for pair in self._model.predict_proba(self._vectorizer.transform(list(texts)))]


def profanity_model(_argument: str) -> ProfanityModel:
    """Load it.

    Raises:
        CannotError: `scorer-version` with another scikit-learn than the model was made with: its scores may differ.
    """
    return ProfanityModel(_load("vectorizer"), _load("model"))


def _load(part: str) -> Any:
    import joblib
    from sklearn.exceptions import InconsistentVersionWarning

    data = read_wheel_file(_WHEEL, f"{_FOLDER}/{part}.joblib", Folders.of_user().cache)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            # A pickle, which can run code: its bytes come from the wheel with the pinned digest, never from elsewhere.
            return joblib.load(io.BytesIO(data))
        except InconsistentVersionWarning as error:
            raise CannotError(
                "scorer-version",
                "profanity-model needs the scikit-learn that it was made with",
                why=str(error),
                next='run `pip install "patchpm[scorers]"`',
            ) from error
