"""Which rows each step sees: a pure function of seed and step, so that a resumed run goes on as if never stopped."""

from __future__ import annotations

import random
from collections.abc import Sequence

from patchpm.train.team import Team

_WINDOW = 8
"""Batches among which rows are sorted by length: less padding, still well mixed."""


class Schedule:
    """Batches over a pool of rows, epoch after epoch."""

    def __init__(self, name: str, lengths: Sequence[int], batch: int, team: Team) -> None:
        """Plan the batches.

        Args:
            name: Seeds the shuffling.
            lengths: Of each row, in tokens; rows of a batch are of similar length.
            batch: Rows a step, over all processes; a pool that is smaller is used whole.
            team: The processes that train together.
        """
        self._name = name
        self._lengths = lengths
        self._team = team
        self._batch = min(batch, len(lengths))
        self._per_epoch = len(lengths) // self._batch
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def rows(self, step: int) -> list[int]:
        """This process's rows of a step, counted from 0."""
        epoch, place = divmod(step, self._per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._plan(epoch))
        return self._team.share(self._epoch[1][place])

    def _plan(self, epoch: int) -> list[list[int]]:
        dice = random.Random(f"{self._name}/{epoch}")
        order = list(range(len(self._lengths)))
        dice.shuffle(order)
        size = self._batch
        batches = []
        for start in range(0, self._per_epoch * size, _WINDOW * size):
            window = order[start : min(start + _WINDOW * size, self._per_epoch * size)]
            window.sort(key=lambda row: self._lengths[row])
            batches += [window[first : first + size] for first in range(0, len(window), size)]
        dice.shuffle(batches)
        return batches
