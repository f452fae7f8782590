"""Scorers: what says how bad a text is. One may filter texts for training, another one judges claims.

A scorer is named as `profanity-model`, or with an argument as `transformers:models/toxic-bert`. Those that come with
patchpm have fixed names, which no other package can take over: a claim says which judge it rests on. Further ones are
entry points of the group `patchpm.scorers`, each a function of the argument (empty where there is none) that returns a
`Scorer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast, runtime_checkable

from patchpm.errors import CannotError, UsageError

GROUP = "patchpm.scorers"
"""Entry point group of further scorers."""
_HERE = "patchpm.train.scorers"
_BUILT_IN = {
    "profanity-model": f"{_HERE}.profanity_model:profanity_model",
    "word-list": f"{_HERE}.word_list:word_list",
    "detoxify": f"{_HERE}.detoxify_model:detoxify_model",
    "transformers": f"{_HERE}.classifier:classifier",
    "llama-guard": f"{_HERE}.llama_guard:llama_guard",
}


@runtime_checkable
class Scorer(Protocol):
    """Says how bad texts are."""

    @property
    def name(self) -> str:
        """As it was asked for."""

    def score(self, texts: Sequence[str]) -> list[float]:
        """One score a text, 0 to 1, higher is worse; the same text always gets the same score."""


def load_scorer(name: str) -> Scorer:
    """Load a scorer; only its own libraries are imported.

    Args:
        name: `NAME` or `NAME:ARGUMENT`.

    Raises:
        UsageError: `unknown-scorer`, or what the scorer says of its argument.
        CannotError: `extra-missing` without the libraries it needs, `scorer-broken` for a plug-in that is no scorer;
            and what it raises for files that are not there.
    """
    kind, _, argument = name.partition(":")
    point = _entry_point(kind)
    try:
        make = cast("Callable[[str], object]", point.load())
        scorer = make(argument)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("patchpm"):
            raise
        raise CannotError(
            "extra-missing",
            f"the scorer {kind} needs a library that is not installed",
            why=str(error),
            next=f"run `pip install {_PACKAGES.get(kind, error.name)}`",
        ) from error
    if not isinstance(scorer, Scorer):
        raise CannotError("scorer-broken", f"the plug-in {point.value} does not make a scorer", next="report it there")
    return scorer


def scorer_names() -> tuple[str, ...]:
    """Every scorer that can be asked for here."""
    return tuple(sorted({*_BUILT_IN, *entry_points(group=GROUP).names}))


_PACKAGES = {"profanity-model": '"patchpm[scorers]"', "detoxify": "detoxify"}


def _entry_point(kind: str) -> EntryPoint:
    if kind in _BUILT_IN:
        return EntryPoint(kind, _BUILT_IN[kind], GROUP)
    found = list(entry_points(group=GROUP, name=kind))
    if len(found) != 1:
        raise UsageError(
            "unknown-scorer",
            f"there is no scorer {kind}" if not found else f"several packages bring a scorer {kind}",
            why=", ".join(point.value for point in found),
            next=f"known are {', '.join(scorer_names())}",
        )
    return found[0]
