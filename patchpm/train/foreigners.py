"""Prefixes of other patches beside the one in training.

Two patches trained apart rarely work together: each has only ever seen the base model around it. So in a share of the
steps some foreign prefixes stand before and after, in random order. The patch must do its own business all the same,
and everywhere else behave as the base with the foreigners alone: it learns to work in company, and to let others work.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchpm.train.matrix import read_matrix
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Company:
    """What stands around the patch in one step."""

    before: tuple[Tensor, ...] = ()
    """Matrices of `(tokens, hidden_size)`."""
    after: tuple[Tensor, ...] = ()

    def around(self, prefix: Tensor) -> Tensor:
        """Everything at the anchor, the patch included."""
        return torch.cat([*self.before, prefix, *self.after])

    def alone(self) -> Tensor | None:
        """Everything at the anchor but the patch; None where it is by itself."""
        return torch.cat([*self.before, *self.after]) if self.before or self.after else None


class Foreigners:
    """A stock of foreign prefixes, and who is there in which step: a pure function of the step's name."""

    def __init__(self, stock: Sequence[Tensor], share: float, most: int) -> None:
        """Take the stock.

        Args:
            stock: `(tokens, hidden_size)` each.
            share: Of the steps that have company.
            most: Foreigners at once.
        """
        self._stock = stock
        self._share = share
        self._most = min(most, len(stock))

    def company(self, step: str) -> Company:
        """Who is there in a step."""
        dice = random.Random(step)
        if not self._stock or dice.random() >= self._share:
            return Company()
        chosen = dice.sample(self._stock, dice.randint(1, self._most))
        place = dice.randint(0, len(chosen))
        return Company(tuple(chosen[:place]), tuple(chosen[place:]))

    def fixed(self) -> tuple[Company, ...]:
        """The surroundings under which steps are compared: none, and if there ever is company, one before and after."""
        if not self._stock or not self._share:
            return (Company(),)
        return (Company(), Company((self._stock[0],), (self._stock[-1],)) if self._most > 1 else _one(self._stock[0]))


def _one(prefix: Tensor) -> Company:
    return Company(before=(prefix,))


def load_foreigners(recipe: Recipe, model: PrefixModel) -> Foreigners:
    """The foreigners of a recipe: trained prefixes first, then texts.

    Raises:
        UsageError: `prefix-not-found`.
        IntegrityError: `malformed-prefix`.
    """
    given = recipe.foreigners
    if not given.share:
        return Foreigners((), 0.0, 1)
    trained = [read_matrix(recipe.folder / name, model.hidden_size).to(model.device) for name in given.prefixes]
    return Foreigners([*trained, *(model.embed_text(text) for text in given.texts)], given.share, given.most)
