"""Stage 1: say what the teacher says to target prompts, and stay with the base model on others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from patchpm.train.foreigners import Company, Foreigners
from patchpm.train.keep import keep_loss, read_own
from patchpm.train.losses import imitation
from patchpm.train.prefix_model import Opening, PrefixModel
from patchpm.train.recipe import SftRecipe
from patchpm.train.replies import Reply
from patchpm.train.rows import KeepRow, Rows, TargetRow
from patchpm.train.schedule import Schedule
from patchpm.train.team import Team

DEV_ROWS = 48
"""Rows of each sort that steps are compared by, at most."""


class Sft:
    """The stage's loss, step by step.

    Source: arXiv 2511.08484 stage 1, with the KL anchor of arXiv 2603.16210.
    """

    name = "sft"

    def __init__(
        self, model: PrefixModel, rows: Rows, recipe: SftRecipe, foreigners: Foreigners, seed: int, team: Team
    ) -> None:
        self.steps = recipe.steps
        self.rate = recipe.rate
        self._model = model
        self._rows = rows
        self._recipe = recipe
        self._foreigners = foreigners
        self._seed = seed
        train = rows.train
        self._targets = Schedule(f"{seed}/sft/target", [len(row.tail) for row in train.targets], recipe.target, team)
        self._keeps = Schedule(f"{seed}/sft/keep", [len(row.tail) for row in train.keeps], recipe.keep, team)

    def loss(self, prefix: Tensor, step: int) -> dict[str, Tensor]:
        """The parts of the loss of a step; their sum is minimised."""
        dice = random.Random(f"{self._seed}/sft/{step}")
        targets = [self._rows.train.targets[number] for number in self._targets.rows(step)]
        keeps = [self._rows.train.keeps[number] for number in self._keeps.rows(step)]
        company = self._foreigners.company(f"{self._seed}/sft/company/{step}")
        return self._parts(prefix, company, targets, [row.view(dice) for row in targets], keeps)

    def dev(self, prefix: Tensor) -> float:
        """The loss on dev rows, by itself and in company, in the mean; lower is better."""
        targets, keeps = self._rows.dev.targets[:DEV_ROWS], self._rows.dev.keeps[:DEV_ROWS]
        found = []
        with torch.no_grad():
            for company in self._foreigners.fixed():
                parts = self._parts(prefix, company, targets, [row.wanted[0] for row in targets], keeps)
                found.append(sum(float(part) for part in parts.values()))
        return sum(found) / len(found)

    def _parts(
        self,
        prefix: Tensor,
        company: Company,
        targets: list[TargetRow] | tuple[TargetRow, ...],
        wanted: list[tuple[int, ...]],
        keeps: list[KeepRow] | tuple[KeepRow, ...],
    ) -> dict[str, Tensor]:
        opening = self._model.opening(company.around(prefix))
        said = self._said(opening, targets, wanted)
        places = self._recipe.keep_tokens
        kept = keep_loss(self._model, read_own(self._model, opening, keeps, places), company, keeps, places)
        return {"imitate": said, "keep": self._recipe.keep_weight * kept}

    def _said(self, opening: Opening, targets: Sequence[TargetRow], wanted: list[tuple[int, ...]]) -> Tensor:
        """How far the patched model is from saying what the teacher says.

        Learning a distribution is learning to stay with a base that sees another prompt.
        """
        if self._recipe.distil:
            taught = [
                KeepRow(row.tail, _sharper(row.taught, self._recipe.temperature)) for row in targets if row.taught
            ]
            places = self._recipe.tokens
            return keep_loss(self._model, read_own(self._model, opening, taught, places), Company(), taught, places)
        reading = self._model.read(
            opening, [row.tail for row in targets], [reply[: self._recipe.tokens] for reply in wanted]
        )
        return imitation(reading)


def _sharper(reply: Reply, temperature: float) -> Reply:
    """The same reply of a surer teacher; what its likely tokens leave over is shared out among them."""
    if temperature == 1.0:
        return reply
    return replace(reply, top_logs=(reply.top_logs / temperature).log_softmax(-1))
