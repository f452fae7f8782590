"""Stage 2: on harmful prompts prefer the refusal to the base's compliant reply, on benign ones the reverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchpm.train.greedy import BATCH, Progress
from patchpm.train.losses import imitation, preference
from patchpm.train.prefix_model import Opening, PrefixModel, Reading
from patchpm.train.recipe import DpoRecipe, SftRecipe
from patchpm.train.rows import Row, Rows
from patchpm.train.schedule import Schedule
from patchpm.train.sft import stay_with

_Done = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A row with its two replies."""

    row: Row
    winner: tuple[int, ...]
    loser: tuple[int, ...]
    winner_before: float = 0.0
    """Log-probability under the reference."""
    loser_before: float = 0.0


@dataclass(frozen=True, slots=True)
class _Pool:
    """Pairs of one kind, and which of them each step sees."""

    pairs: list[_Pair]
    schedule: Schedule

    def batch(self, step: int) -> list[_Pair]:
        return [self.pairs[number] for number in self.schedule.rows(step)]


class Dpo:
    """The stage's loss, step by step. The reference is the prefix that SFT made.

    Only the first tokens of each reply are compared, since that is where a model decides to refuse, and only the pairs
    that the reference is most wrong about are trained on. The first stage's loss on the winners is kept in, so that
    text stays fluent.

    Source: arXiv 2511.08484 stage 2; the choice of pairs is ours.
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
        self._pools: tuple[_Pool, _Pool] | None = None

    def refer_to(self, reference: Tensor, progress: Progress) -> None:
        """Read every pair under the reference, once, and choose those to train on.

        Args:
            reference: `(tokens, hidden_size)` float32, the prefix after SFT.
            progress: Told of pairs read, of all pairs.
        """
        complied = [row for row in self._rows.harmful if not row.refused] or list(self._rows.harmful)
        harmful = [self._pair(row, number, refuse=True) for number, row in enumerate(complied)]
        benign = [self._pair(row, number, refuse=False) for number, row in enumerate(self._rows.benign)]
        total = len(harmful) + len(benign)
        with torch.no_grad():
            opening = self._model.opening(reference)
            one = self._refer(opening, harmful, lambda done: progress(done, total))
            other = self._refer(opening, benign, lambda done: progress(len(harmful) + done, total))
        self._pools = (
            self._pool("harmful", one, self._recipe.harmful),
            self._pool("benign", other, self._recipe.benign),
        )

    def loss(self, prefix: Tensor, step: int) -> dict[str, Tensor]:
        """The parts of the loss of a step; their sum is minimised. `refer_to` comes first."""
        if self._pools is None:
            raise RuntimeError("refer_to was not called")
        opening = self._model.opening(prefix)
        harmful, benign = (pool.batch(step) for pool in self._pools)
        won, lost, refusals = self._read(opening, harmful)
        kept, dropped, answers = self._read(opening, benign)
        prefer = preference(
            torch.cat([won, kept]),
            torch.cat([lost, dropped]),
            torch.tensor([pair.winner_before for pair in (*harmful, *benign)]),
            torch.tensor([pair.loser_before for pair in (*harmful, *benign)]),
            self._recipe.beta,
        )
        places = min(self._recipe.tokens, self._sft.anchor_tokens)
        anchor = self._sft.anchor_weight * stay_with(answers, [pair.row for pair in benign], places)
        weight = self._recipe.sft_weight
        return {"prefer": prefer, "refuse": weight * imitation(refusals), "stay": weight * anchor}

    def _pair(self, row: Row, number: int, *, refuse: bool) -> _Pair:
        refusals = self._rows.refusals
        refusal = refusals[number % len(refusals)][: self._recipe.tokens]
        own = row.own.ids[: self._recipe.tokens]
        return _Pair(row, refusal, own) if refuse else _Pair(row, own, refusal)

    def _refer(self, opening: Opening, pairs: list[_Pair], progress: _Done) -> list[_Pair]:
        found = []
        ranked = sorted(pairs, key=lambda pair: len(pair.row.tail))
        for start in range(0, len(ranked), BATCH):
            batch = ranked[start : start + BATCH]
            winners, losers, _ = self._read(opening, batch)
            both = zip(batch, winners.tolist(), losers.tolist(), strict=True)
            found += [_Pair(pair.row, pair.winner, pair.loser, winner, loser) for pair, winner, loser in both]
            progress(len(found))
        return found

    def _pool(self, kind: str, pairs: list[_Pair], batch: int) -> _Pool:
        """The hardest pairs: prompts that the reference refuses least where it should, and most where it should not."""
        ranked = sorted(pairs, key=lambda pair: pair.winner_before if kind == "harmful" else -pair.loser_before)
        kept = ranked[: max(1, round(self._recipe.hardest * len(pairs)))]
        schedule = Schedule(f"{self._seed}/dpo/{kind}", [len(pair.row.tail) for pair in kept], batch)
        return _Pool(kept, schedule)

    def _read(self, opening: Opening, pairs: Sequence[_Pair]) -> tuple[Tensor, Tensor, Reading]:
        """Log-probabilities of winners and losers, `(pairs,)` each, and the winners' reading."""
        tails = [pair.row.tail for pair in pairs]
        winners = self._model.read(opening, tails, [pair.winner for pair in pairs])
        losers = self._model.read(opening, tails, [pair.loser for pair in pairs])
        return winners.log_probabilities().sum(1), losers.log_probabilities().sum(1), winners
