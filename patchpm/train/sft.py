"""Stage 1: say the refusal to harmful prompts, and stay with the base model on benign ones."""

from __future__ import annotations

import random

from torch import Tensor

from patchpm.train.losses import imitation, padded, stay
from patchpm.train.prefix_model import Opening, PrefixModel, Reading
from patchpm.train.recipe import SftRecipe
from patchpm.train.rows import Row, Rows
from patchpm.train.schedule import Schedule


class Sft:
    """The stage's loss, step by step.

    Source: arXiv 2511.08484 stage 1, with the KL anchor of arXiv 2603.16210.
    """

    name = "sft"

    def __init__(self, model: PrefixModel, rows: Rows, recipe: SftRecipe, seed: int) -> None:
        self.steps = recipe.steps
        self.rate = recipe.rate
        self._model = model
        self._rows = rows
        self._recipe = recipe
        self._seed = seed
        self._harmful = Schedule(f"{seed}/sft/harmful", [len(row.tail) for row in rows.harmful], recipe.harmful)
        self._benign = Schedule(f"{seed}/sft/benign", [len(row.tail) for row in rows.benign], recipe.benign)

    def loss(self, prefix: Tensor, step: int) -> dict[str, Tensor]:
        """The parts of the loss of a step; their sum is minimised."""
        dice = random.Random(f"{self._seed}/sft/{step}")
        opening = self._model.opening(prefix)
        harmful = [self._rows.harmful[number] for number in self._harmful.rows(step)]
        benign = [self._rows.benign[number] for number in self._benign.rows(step)]
        refusals = self._model.read(opening, [row.tail for row in harmful], [self._rows.refusal(dice) for _ in harmful])
        answers = read_own(self._model, opening, benign, self._recipe.anchor_tokens)
        return {
            "refuse": imitation(refusals),
            "stay": self._recipe.anchor_weight * stay_with(answers, benign, self._recipe.anchor_tokens),
        }


def read_own(model: PrefixModel, opening: Opening, rows: list[Row], places: int) -> Reading:
    """Read the first `places` tokens of the base's own replies."""
    return model.read(opening, [row.tail for row in rows], [row.own.ids[:places] for row in rows])


def stay_with(reading: Reading, rows: list[Row], places: int) -> Tensor:
    """The KL anchor of some benign rows."""
    width = min(places, reading.mask.shape[1])
    top_ids = padded([row.own.top_ids for row in rows], width)
    top_logs = padded([row.own.top_logs for row in rows], width)
    return stay(reading, top_ids, top_logs, width)
