"""Stage 2: on harmful prompts prefer the refusal to the base's compliant reply, on benign ones the reverse."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from patchpm.train.greedy import Progress
from patchpm.train.losses import imitation, preference
from patchpm.train.prefix_model import Opening, PrefixModel, Reading
from patchpm.train.recipe import DpoRecipe, SftRecipe
from patchpm.train.rows import Row, Rows
from patchpm.train.schedule import Schedule
from patchpm.train.sft import stay_with


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows with two replies each."""

    rows: list[Row]
    winners: list[tuple[int, ...]]
    losers: list[tuple[int, ...]]


class Dpo:
    """The stage's loss, step by step. The reference is the prefix that SFT made.

    The first stage's loss on the winners is kept in, so that text stays fluent.

    Source: arXiv 2511.08484 stage 2.
    """

    name = "dpo"

    def __init__(self, model: PrefixModel, rows: Rows, recipe: DpoRecipe, sft: SftRecipe, seed: int) -> None:
        self.steps = recipe.steps
        self.rate = recipe.rate
        self._model = model
        self._recipe = recipe
        self._sft = sft
        self._rows = rows
        self._seed = seed
        self._complied = tuple(row for row in rows.harmful if not row.refused) or rows.harmful
        self._harmful = Schedule(f"{seed}/dpo/harmful", [len(row.tail) for row in self._complied], recipe.harmful)
        self._benign = Schedule(f"{seed}/dpo/benign", [len(row.tail) for row in rows.benign], recipe.benign)
        self._before: list[tuple[Tensor, Tensor]] = []

    def refer_to(self, reference: Tensor, progress: Progress) -> None:
        """Compute every step's log-probabilities under the reference, once.

        Args:
            reference: `(tokens, hidden_size)` float32, the prefix after SFT.
            progress: Told after every step.
        """
        self._before = []
        with torch.no_grad():
            opening = self._model.opening(reference)
            for step in range(self.steps):
                read = [self._read(opening, pairs) for pairs in self._pairs(step)]
                self._before.append((torch.cat([one[0] for one in read]), torch.cat([one[1] for one in read])))
                progress(step + 1, self.steps)

    def loss(self, prefix: Tensor, step: int) -> dict[str, Tensor]:
        """The parts of the loss of a step; their sum is minimised."""
        opening = self._model.opening(prefix)
        harmful, benign = self._pairs(step)
        won, lost, refusals = self._read(opening, harmful)
        kept, dropped, answers = self._read(opening, benign)
        winner_before, loser_before = self._before[step]
        prefer = preference(
            torch.cat([won, kept]), torch.cat([lost, dropped]), winner_before, loser_before, self._recipe.beta
        )
        weight = self._recipe.sft_weight
        anchor = self._sft.anchor_weight * stay_with(answers, benign.rows, self._sft.anchor_tokens)
        return {"prefer": prefer, "refuse": weight * imitation(refusals), "stay": weight * anchor}

    def _pairs(self, step: int) -> tuple[_Pairs, _Pairs]:
        dice = random.Random(f"{self._seed}/dpo/{step}")
        harmful = [self._complied[number] for number in self._harmful.rows(step)]
        benign = [self._rows.benign[number] for number in self._benign.rows(step)]
        return (
            _Pairs(harmful, [self._rows.refusal(dice) for _ in harmful], [row.own.ids for row in harmful]),
            _Pairs(benign, [row.own.ids for row in benign], [self._rows.refusal(dice) for _ in benign]),
        )

    def _read(self, opening: Opening, pairs: _Pairs) -> tuple[Tensor, Tensor, Reading]:
        """Log-probabilities of winners and losers, `(pairs,)` each, and the winners' reading."""
        tails = [row.tail for row in pairs.rows]
        winners = self._model.read(opening, tails, pairs.winners)
        losers = self._model.read(opening, tails, pairs.losers)
        return winners.log_probabilities().sum(1), losers.log_probabilities().sum(1), winners
