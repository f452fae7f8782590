from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from patchpm.patch.digest import Digest
from patchpm.train.data import load_prompts
from patchpm.train.dpo import Dpo
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import Recipe, read_recipe
from patchpm.train.rows import Rows, make_rows
from patchpm.train.run import first_prefix
from tests.train.tiny_run import prefix_model, write_recipe


def silent(_done: int, _total: int) -> None:
    """Show nothing."""


def setting(folder: Path) -> tuple[PrefixModel, Recipe, Rows]:
    recipe = read_recipe(write_recipe(folder))
    model = prefix_model()
    prompts = load_prompts(recipe, folder)
    return model, recipe, make_rows(model, Digest.of(b"tiny"), recipe, prompts, folder, silent)


def test_at_the_reference_no_reply_is_preferred_yet(tmp_path: Path) -> None:
    model, recipe, rows = setting(tmp_path)
    reference = first_prefix(model, recipe)
    dpo = Dpo(model, rows, recipe.dpo, recipe.sft, recipe.seed)
    dpo.refer_to(reference, silent)
    for step in range(recipe.dpo.steps):
        assert float(dpo.loss(reference, step)["prefer"]) == pytest.approx(math.log(2), abs=1e-4)


def test_a_step_down_the_preference_moves_both_kinds_of_prompts_the_right_way(tmp_path: Path) -> None:
    model, recipe, rows = setting(tmp_path)
    everything = replace(recipe.dpo, hardest=1.0, harmful=len(rows.harmful), benign=len(rows.benign))
    reference = first_prefix(model, recipe)
    dpo = Dpo(model, rows, everything, recipe.sft, recipe.seed)
    dpo.refer_to(reference, silent)

    def refusal_share(prefix: torch.Tensor, tails: list[tuple[int, ...]], own: list[tuple[int, ...]]) -> torch.Tensor:
        """How much likelier the refusal is than the own reply, in nats."""
        with torch.no_grad():
            opening = model.opening(prefix)
            refused = model.read(opening, tails, [rows.refusals[0]] * len(tails)).log_probabilities()[:, :5].sum(1)
            answered = model.read(opening, tails, own).log_probabilities().sum(1)
        return refused - answered

    prefix = reference.clone().requires_grad_(True)
    torch.autograd.backward(dpo.loss(prefix, 0)["prefer"])
    assert prefix.grad is not None
    moved = reference - 0.05 * prefix.grad / prefix.grad.norm()
    gained = {}
    for kind, found in (("harmful", rows.harmful), ("benign", rows.benign)):
        tails, own = [row.tail for row in found], [row.own.ids[:5] for row in found]
        gained[kind] = float((refusal_share(moved, tails, own) - refusal_share(reference, tails, own)).mean())
    assert gained["harmful"] > gained["benign"]


def test_only_the_hardest_pairs_are_trained_on(tmp_path: Path) -> None:
    model, recipe, rows = setting(tmp_path)
    reference = first_prefix(model, recipe)
    one = replace(recipe.dpo, hardest=0.01, harmful=1, benign=1)
    dpo = Dpo(model, rows, one, recipe.sft, recipe.seed)
    dpo.refer_to(reference, silent)
    losses = [float(dpo.loss(reference, step)["refuse"].detach()) for step in range(4)]
    assert len(set(losses)) == 1
    every = [
        -float(model.read(model.opening(reference), [row.tail], [rows.refusals[0]]).log_probabilities().sum())
        for row in rows.harmful
    ]
    assert losses[0] * len(rows.refusals[0]) == pytest.approx(max(every), rel=1e-3)


def test_a_loss_before_the_reference_is_a_bug(tmp_path: Path) -> None:
    model, recipe, rows = setting(tmp_path)
    with pytest.raises(RuntimeError, match="refer_to"):
        Dpo(model, rows, recipe.dpo, recipe.sft, recipe.seed).loss(first_prefix(model, recipe), 0)
