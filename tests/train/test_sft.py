from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from patchpm.train.foreigners import Foreigners, load_foreigners
from patchpm.train.keep import keep_loss, read_own
from patchpm.train.losses import imitation
from patchpm.train.run import first_prefix
from patchpm.train.sft import Sft
from patchpm.train.team import Team
from tests.train.tiny_run import FOREIGNERS, RECIPE, Setting, random_prefix, setting, with_tables

NOBODY = Foreigners((), 0.0, 1)


def stage(made: Setting, foreigners: Foreigners = NOBODY, *, seed: int = 7) -> Sft:
    return Sft(made.model, made.rows, made.recipe.sft, foreigners, seed, Team())


def test_a_step_down_the_loss_makes_the_wanted_replies_likelier(tmp_path: Path) -> None:
    made = setting(tmp_path)
    everything = replace(made, recipe=replace(made.recipe, sft=replace(made.recipe.sft, target=6, keep=6)))
    sft = stage(everything)
    prefix = first_prefix(made.model, made.recipe).requires_grad_(True)
    parts = sft.loss(prefix, 0)
    assert set(parts) == {"imitate", "keep"}
    torch.autograd.backward(parts["imitate"])
    assert prefix.grad is not None
    moved = prefix.detach() - 0.05 * prefix.grad / prefix.grad.norm()
    assert float(sft.loss(moved, 0)["imitate"]) < float(parts["imitate"].detach())


def test_a_step_is_the_same_whatever_was_asked_before_and_another_one_is_not(tmp_path: Path) -> None:
    made = setting(tmp_path, with_tables(RECIPE, FOREIGNERS))
    prefix = random_prefix(6)
    foreigners = load_foreigners(made.recipe, made.model)

    def losses(sft: Sft, steps: range) -> list[tuple[float, float]]:
        return [(float(parts["imitate"]), float(parts["keep"])) for parts in (sft.loss(prefix, n) for n in steps)]

    with torch.no_grad():
        forward = losses(stage(made, foreigners), range(6))
        assert losses(stage(made, foreigners), range(5, -1, -1)) == forward[::-1]
        assert losses(stage(made, foreigners, seed=8), range(6)) != forward
    assert len({*forward}) == 6


def test_the_weight_of_the_anchor_counts(tmp_path: Path) -> None:
    made = setting(tmp_path)
    heavy = replace(made, recipe=replace(made.recipe, sft=replace(made.recipe.sft, keep_weight=3.0)))
    prefix = random_prefix(6)
    with torch.no_grad():
        once, thrice = stage(made).loss(prefix, 0), stage(heavy).loss(prefix, 0)
    assert float(thrice["keep"]) == pytest.approx(3 * float(once["keep"]), rel=1e-5)
    assert float(thrice["imitate"]) == float(once["imitate"])


def test_only_the_first_tokens_of_a_wanted_reply_are_imitated(tmp_path: Path) -> None:
    made = setting(tmp_path)
    short = replace(made, recipe=replace(made.recipe, sft=replace(made.recipe.sft, tokens=2)))
    prefix = random_prefix(6)
    targets = made.rows.dev.targets
    with torch.no_grad():
        opening = made.model.opening(prefix)
        said = made.model.read(opening, [row.tail for row in targets], [row.wanted[0][:2] for row in targets])
        figure = stage(short).dev(prefix) - stage(made).dev(prefix)
        whole = made.model.read(opening, [row.tail for row in targets], [row.wanted[0] for row in targets])
    assert figure == pytest.approx(float(imitation(said) - imitation(whole)), abs=1e-4)


def test_the_figure_on_dev_rows_is_the_mean_of_the_loss_alone_and_in_company(tmp_path: Path) -> None:
    made = setting(tmp_path, with_tables(RECIPE, FOREIGNERS))
    foreigners = load_foreigners(made.recipe, made.model)
    prefix, recipe = random_prefix(6), made.recipe.sft
    targets, keeps = made.rows.dev.targets, made.rows.dev.keeps
    figures = []
    with torch.no_grad():
        for company in foreigners.fixed():
            opening = made.model.opening(company.around(prefix))
            said = made.model.read(opening, [row.tail for row in targets], [row.wanted[0] for row in targets])
            kept = read_own(made.model, opening, keeps, recipe.keep_tokens)
            loss = keep_loss(made.model, kept, company, keeps, recipe.keep_tokens)
            figures.append(float(imitation(said) + recipe.keep_weight * loss))
    assert len(figures) == 2
    assert stage(made, foreigners).dev(prefix) == pytest.approx(sum(figures) / 2, abs=1e-5)
    assert stage(made).dev(prefix) == pytest.approx(figures[0], abs=1e-5)


def test_the_rows_of_dev_are_not_those_of_training(tmp_path: Path) -> None:
    rows = setting(tmp_path).rows
    assert (len(rows.dev.targets), len(rows.dev.keeps)) == (2, 2)
    assert not {row.tail for row in rows.dev.targets} & {row.tail for row in rows.train.targets}
    assert not {row.tail for row in rows.dev.keeps} & {row.tail for row in rows.train.keeps}
