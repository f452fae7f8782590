"""Stage 2: prefer the wanted reply to the unwanted one, and on prompts to keep the base's own reply to a wanted one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from patchpm.train.foreigners import Company, Foreigners
from patchpm.train.keep import keep_loss, read_own
from patchpm.train.losses import balance, evenness, imitation, preference
from patchpm.train.prefix_model import Opening, PrefixModel, Reading
from patchpm.train.recipe import BALANCE, BASE, NONE, PREFER, TEACHER, Recipe
from patchpm.train.replies import Progress
from patchpm.train.rows import KeepRow, Rows, TargetRow
from patchpm.train.schedule import Schedule
from patchpm.train.sft import DEV_ROWS
from patchpm.train.team import Team

_BATCH = 32
"""Pairs read together where no gradient is needed."""
_DEV_PAIRS = 400
_BALANCE_WEIGHT = 10.0
"""What half a unit of imbalance, or a nat between two replies, counts against the KL anchor."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """A prompt with its two replies."""

    tail: tuple[int, ...]
    winner: tuple[int, ...]
    loser: tuple[int, ...]
    winner_before: float = 0.0
    """Log-probability under the reference."""
    loser_before: float = 0.0
    together: str = ""
    """See `TargetRow.together`."""

    @property
    def length(self) -> int:
        return len(self.tail) + len(self.winner)


@dataclass(frozen=True, slots=True)
class _Pool:
    """Pairs of one sort, and which of them each step sees."""

    pairs: list[_Pair]
    schedule: Schedule

    def batch(self, step: int) -> list[_Pair]:
        return [self.pairs[number] for number in self.schedule.rows(step)]


def _by_source(pairs: Sequence[_Pair]) -> dict[str, list[int]]:
    """Which pairs shall be even together, by their source; under the empty name those that shall be by themselves."""
    rows: dict[str, list[int]] = {}
    for row, pair in enumerate(pairs):
        rows.setdefault(pair.together, []).append(row)
    return rows


class Dpo:
    """The stage's loss, step by step.

    Only the first tokens of each reply are compared, since that is where a model decides to refuse, and only the pairs
    that the reference is most wrong about are trained on.

    Source: arXiv 2511.08484 stage 2; the choice of pairs and the reverse pairs are ours.
    """

    name = "dpo"

    def __init__(self, model: PrefixModel, rows: Rows, recipe: Recipe, foreigners: Foreigners, team: Team) -> None:
        self.steps = recipe.dpo.steps
        self.rate = recipe.dpo.rate
        self._model = model
        self._recipe = recipe.dpo
        self._instruction = recipe.teacher.instruction
        self._foreigners = foreigners
        self._rows = rows
        self._seed = recipe.seed
        self._team = team
        self._keeps = Schedule(
            f"{self._seed}/dpo/keep", [len(row.tail) for row in rows.train.keeps], self._recipe.keep, team
        )
        self._pools: list[_Pool] = []
        dev = (*rows.dev.targets[:DEV_ROWS], *rows.dev.pairs[:_DEV_PAIRS])
        self._dev = sorted((self._pair(row, number) for number, row in enumerate(dev)), key=lambda pair: pair.length)

    def refer_to(self, after_sft: Tensor, progress: Progress) -> None:
        """Read every pair under the reference, once, and choose those to train on.

        Args:
            after_sft: `(tokens, hidden_size)` float32, the prefix after the first stage.
            progress: Told of pairs read, of all pairs.
        """
        wanted = [
            self._pair(row, number) for number, row in enumerate((*self._rows.train.targets, *self._rows.train.pairs))
        ]
        keeps = (row for row in self._rows.train.keeps if row.reversible)
        reverse = [self._reversed(row, number) for number, row in enumerate(keeps)]
        sorts = [("wanted", wanted, self._recipe.pairs)]
        if self._recipe.reverse:
            sorts.append(("reverse", reverse, self._recipe.reverse))
        total = sum(len(pairs) for _, pairs, _ in sorts)
        done = 0
        if self._recipe.reference == NONE:
            self._pools = [self._pool(sort, pairs, batch) for sort, pairs, batch in sorts]
            return
        with torch.no_grad():
            opening = self._model.opening(self._reference(after_sft))
            for sort, pairs, batch in sorts:
                found = self._refer(opening, pairs, done, total, progress)
                done += len(pairs)
                self._pools.append(self._pool(sort, found, batch))

    def loss(self, prefix: Tensor, step: int) -> dict[str, Tensor]:
        """The parts of the loss of a step; their sum is minimised. `refer_to` comes first."""
        company = self._foreigners.company(f"{self._seed}/dpo/company/{step}")
        opening = self._model.opening(company.around(prefix))
        batches = [pool.batch(step) for pool in self._pools]
        pairs = [pair for batch in batches for pair in batch]
        won, lost, winners = zip(*(self._read(opening, batch) for batch in batches), strict=True)
        parts = {"prefer": self._compare(torch.cat(won), torch.cat(lost), pairs)}
        if self._recipe.imitate_weight:
            parts["imitate"] = self._recipe.imitate_weight * imitation(winners[0])
        keeps = [self._rows.train.keeps[number] for number in self._keeps.rows(step)]
        parts["keep"] = self._keep(opening, company, keeps)
        return parts

    def dev(self, prefix: Tensor) -> float:
        """How good a prefix is on dev rows, by itself and in company, in the mean; lower is better.

        For the goal `balance` it is how far from even the pairs are, else the loss of DPO without a reference. The KL
        anchor is added to both.
        """
        pairs, keeps = self._dev, self._rows.dev.keeps[:DEV_ROWS]
        found = []
        with torch.no_grad():
            for company in self._foreigners.fixed():
                opening = self._model.opening(company.around(prefix))
                parts = (self._read(opening, pairs[at : at + _BATCH]) for at in range(0, len(pairs), _BATCH))
                won, lost = (torch.cat(side) for side in list(zip(*parts, strict=True))[:2])
                even = self._recipe.goal == BALANCE
                figure = self._uneven(won, lost, pairs) if even else self._compare(won, lost, pairs)
                found.append(float(figure + self._keep(opening, company, keeps)))
        return sum(found) / len(found)

    def _uneven(self, won: Tensor, lost: Tensor, pairs: Sequence[_Pair]) -> Tensor:
        """How far from even the pairs of each source are together, or each by itself; the mean over sources."""
        found = []
        for name, rows in _by_source(pairs).items():
            found.append(balance(won[rows], lost[rows]) if name else evenness(won[rows], lost[rows]))
        return _BALANCE_WEIGHT * torch.stack(found).mean()

    def _keep(self, opening: Opening, company: Company, rows: Sequence[KeepRow]) -> Tensor:
        places = self._recipe.keep_tokens
        reading = read_own(self._model, opening, rows, places)
        return self._recipe.keep_weight * keep_loss(self._model, reading, company, rows, places)

    def _compare(self, won: Tensor, lost: Tensor, pairs: Sequence[_Pair]) -> Tensor:
        before = torch.tensor([[pair.winner_before, pair.loser_before] for pair in pairs], device=won.device)
        if self._recipe.goal == PREFER:
            return preference(won, lost, before[:, 0], before[:, 1], self._recipe.beta)
        parts = []
        for name, rows in _by_source(pairs).items():
            part = preference(won[rows], lost[rows], before[rows, 0], before[rows, 1], self._recipe.beta)
            parts.append(len(rows) * (part if name else _BALANCE_WEIGHT * evenness(won[rows], lost[rows])))
        return torch.stack(parts).sum() / len(pairs)

    def _reference(self, after_sft: Tensor) -> Tensor | None:
        if self._recipe.reference == BASE:
            return None
        return self._model.embed_text(self._instruction) if self._recipe.reference == TEACHER else after_sft

    def _pair(self, row: TargetRow, number: int) -> _Pair:
        limit = self._recipe.tokens
        wanted = row.wanted[number % len(row.wanted)]
        # What is imitated is the whole reply: a decision to refuse, and then the words.
        winner = wanted if self._recipe.imitate_weight else wanted[:limit]
        return _Pair(row.tail, winner, row.loser[:limit], together=row.together)

    def _reversed(self, row: KeepRow, number: int) -> _Pair:
        loser = self._rows.reverse[number % len(self._rows.reverse)] if self._rows.reverse else ()
        return _Pair(row.tail, row.own.ids[: self._recipe.tokens], loser[: self._recipe.reverse_tokens])

    def _refer(self, opening: Opening, pairs: list[_Pair], done: int, total: int, progress: Progress) -> list[_Pair]:
        found: list[_Pair] = []
        ranked = sorted(pairs, key=lambda pair: pair.length)
        for start in range(0, len(ranked), _BATCH):
            batch = ranked[start : start + _BATCH]
            winners, losers, _ = self._read(opening, batch)
            both = zip(batch, winners.tolist(), losers.tolist(), strict=True)
            found += [replace(pair, winner_before=winner, loser_before=loser) for pair, winner, loser in both]
            progress(done + len(found), total)
        return found

    def _pool(self, sort: str, pairs: list[_Pair], batch: int) -> _Pool:
        """The hardest pairs: those with the least likely winner, or the likeliest loser if they are reverse ones."""
        ranked = sorted(pairs, key=lambda pair: pair.winner_before if sort == "wanted" else -pair.loser_before)
        kept = ranked[: max(1, round(self._recipe.hardest * len(pairs)))]
        return _Pool(kept, Schedule(f"{self._seed}/dpo/{sort}", [pair.length for pair in kept], batch, self._team))

    def _read(self, opening: Opening, pairs: Sequence[_Pair]) -> tuple[Tensor, Tensor, Reading]:
        """Log-probabilities of winners and losers, `(pairs,)` each, and the winners' reading."""
        tails = [pair.tail for pair in pairs]
        winners, losers = self._model.read_pairs(
            opening, tails, [pair.winner for pair in pairs], [pair.loser for pair in pairs]
        )
        return self._total(winners), self._total(losers), winners

    def _total(self, reading: Reading) -> Tensor:
        compared = slice(None, self._recipe.tokens)
        logs = reading.log_probabilities()[:, compared].sum(1)
        return logs / reading.mask[:, compared].sum(1) if self._recipe.per_token else logs
