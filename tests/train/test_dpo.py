from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from patchpm.train.dpo import Dpo
from patchpm.train.foreigners import Foreigners, load_foreigners
from patchpm.train.losses import balance, evenness
from patchpm.train.rows import Part
from patchpm.train.run import first_prefix
from patchpm.train.team import Team
from tests.train.tiny_run import (
    FOREIGNERS,
    OTHERS,
    PAIR_SOURCE,
    PAIRS,
    RECIPE,
    STOP,
    Setting,
    random_prefix,
    setting,
    silent,
    with_tables,
)

NOBODY = Foreigners((), 0.0, 1)
PAIRS_ONLY = (RECIPE[: RECIPE.index("[[source]]")] + RECIPE[RECIPE.rindex("[[source]]") :] + PAIR_SOURCE).replace(
    "steps = 12", "steps = 0"
)


def with_dpo(made: Setting, **changes: Any) -> Setting:
    return replace(made, recipe=replace(made.recipe, dpo=replace(made.recipe.dpo, **changes)))


def stage(made: Setting, after_sft: torch.Tensor | None = None, foreigners: Foreigners = NOBODY) -> Dpo:
    """The stage, ready to train."""
    dpo = Dpo(made.model, made.rows, made.recipe, foreigners, Team())
    dpo.refer_to(first_prefix(made.model, made.recipe) if after_sft is None else after_sft, silent)
    return dpo


def log_probability(made: Setting, prefix: torch.Tensor | None, tail: tuple[int, ...], reply: tuple[int, ...]) -> float:
    with torch.no_grad():
        return float(made.model.read(made.model.opening(prefix), [tail], [reply]).log_probabilities().sum())


def test_at_the_reference_no_reply_is_preferred_yet(tmp_path: Path) -> None:
    made = setting(tmp_path)
    reference = first_prefix(made.model, made.recipe)
    dpo = stage(made)
    with torch.no_grad():
        for step in range(made.recipe.dpo.steps):
            parts = dpo.loss(reference, step)
            assert set(parts) == {"prefer", "imitate", "keep"}
            assert float(parts["prefer"]) == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize("reference", ["sft", "base", "teacher", "none"])
def test_the_loss_is_that_of_the_equation_under_each_reference(tmp_path: Path, reference: str) -> None:
    text = PAIRS_ONLY.replace("reverse = 2", "reverse = 0").replace("hardest = 0.7", "hardest = 1.0")
    text = text.replace("beta = 0.1", f'beta = 0.1\nreference = "{reference}"').replace("pairs = 2", "pairs = 4")
    made = setting(tmp_path, text.replace("[sft]", 'instruction = "Say good things."\n[sft]'))
    before, prefix = random_prefix(4, seed=1), random_prefix(4, seed=2)
    under = {"sft": before, "base": None, "teacher": made.model.embed_text("Say good things.")}
    losses = []
    for row in made.rows.train.pairs:
        sides = [(row.tail, row.wanted[0][:5]), (row.tail, row.loser[:5])]
        won, lost = (log_probability(made, prefix, *side) for side in sides)
        if reference != "none":
            won, lost = (
                now - log_probability(made, under[reference], *side)
                for now, side in zip((won, lost), sides, strict=True)
            )
        losses.append(-math.log(1 / (1 + math.exp(-0.1 * (won - lost)))))
    with torch.no_grad():
        assert float(stage(made, before).loss(prefix, 0)["prefer"]) == pytest.approx(sum(losses) / 4, abs=1e-4)


def test_a_step_down_the_preference_moves_both_sorts_of_prompts_the_right_way(tmp_path: Path) -> None:
    made = setting(tmp_path, RECIPE.replace('replies = ["No.", "I say no."]', 'replies = ["No."]'))
    targets, keeps = made.rows.train.targets, made.rows.train.keeps
    made = with_dpo(made, hardest=1.0, pairs=len(targets), reverse=len(keeps))
    start = first_prefix(made.model, made.recipe)
    prefix = start.clone().requires_grad_(True)
    torch.autograd.backward(stage(made).loss(prefix, 0)["prefer"])
    assert prefix.grad is not None
    moved = start - 0.05 * prefix.grad / prefix.grad.norm()

    def gain(sides: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]) -> float:
        """By how much the first reply gains on the second, in nats."""

        def gap(prefix: torch.Tensor) -> float:
            return sum(
                log_probability(made, prefix, tail, one[:5]) - log_probability(made, prefix, tail, other[:5])
                for tail, one, other in sides
            )

        return gap(moved) - gap(start)

    wanted = gain([(row.tail, row.wanted[0], row.loser) for row in targets])
    reverse = gain([(row.tail, row.own.ids, made.rows.reverse[0]) for row in keeps])
    assert wanted + reverse > 0
    without = with_dpo(made, reverse=0)
    prefix = start.clone().requires_grad_(True)
    torch.autograd.backward(stage(without).loss(prefix, 0)["prefer"])
    assert prefix.grad is not None
    moved = start - 0.05 * prefix.grad / prefix.grad.norm()
    assert gain([(row.tail, row.own.ids, made.rows.reverse[0]) for row in keeps]) < reverse


def test_only_the_hardest_pairs_are_trained_on(tmp_path: Path) -> None:
    made = with_dpo(setting(tmp_path), hardest=0.01, pairs=1, reverse=0, imitate_weight=1.0)
    reference = first_prefix(made.model, made.recipe)
    dpo = stage(made)
    with torch.no_grad():
        losses = [float(dpo.loss(reference, step)["imitate"]) for step in range(4)]
    assert len({*losses}) == 1
    rows = [(row.tail, row.wanted[number % 2]) for number, row in enumerate(made.rows.train.targets)]
    least = min(rows, key=lambda row: log_probability(made, reference, row[0], row[1][:5]))
    assert losses[0] * len(least[1]) == pytest.approx(-log_probability(made, reference, *least), rel=1e-3)


def test_no_reverse_pair_is_made_of_what_is_the_business_of_other_patches(tmp_path: Path) -> None:
    made = setting(tmp_path, RECIPE + OTHERS)
    others = [row for row in made.rows.train.keeps if not row.reversible]
    assert len(others) == 3
    asked: list[tuple[int, int]] = []
    dpo = Dpo(made.model, made.rows, made.recipe, NOBODY, Team())
    dpo.refer_to(first_prefix(made.model, made.recipe), lambda done, whole: asked.append((done, whole)))
    assert asked[-1] == (12, 12)


def test_of_a_refusal_that_loses_only_the_first_tokens_count_if_asked(tmp_path: Path) -> None:
    made = with_dpo(setting(tmp_path), pairs=1, reverse=6, hardest=1.0, reference="none", beta=1.0)
    prefix = random_prefix()

    def of_reverse_pairs(tokens: int) -> float:
        found = 0.0
        for number, row in enumerate(made.rows.train.keeps):
            won = log_probability(made, prefix, row.tail, row.own.ids[:5])
            lost = log_probability(made, prefix, row.tail, made.rows.reverse[number % 2][:tokens])
            found += math.log1p(math.exp(lost - won))
        return found

    with torch.no_grad():
        whole, first = (
            7 * float(stage(with_dpo(made, reverse_tokens=tokens)).loss(prefix, 0)["prefer"]) for tokens in (5, 1)
        )
    assert first - whole == pytest.approx(of_reverse_pairs(1) - of_reverse_pairs(5), abs=1e-3)
    assert first != pytest.approx(whole, abs=1e-2)


def test_pairs_of_a_source_are_read_as_they_are_given(tmp_path: Path) -> None:
    made = setting(tmp_path, PAIRS_ONLY)
    given = {(made.model.frame.tail(ask), good, bad) for ask, good, bad in PAIRS}
    found = {
        (row.tail, made.model.frame.decode(row.wanted[0]), made.model.frame.decode(row.loser))
        for row in made.rows.train.pairs
    }
    assert len(found) == 4
    assert found < given


def test_replies_of_different_length_are_compared_by_token_if_asked(tmp_path: Path) -> None:
    text = PAIRS_ONLY.replace("reverse = 2", "reverse = 0").replace("hardest = 0.7", "hardest = 1.0")
    made = with_dpo(setting(tmp_path, text.replace("beta = 0.1", 'beta = 0.1\nreference = "none"')), pairs=4, tokens=64)
    prefix = random_prefix()
    with torch.no_grad():
        whole, each = (float(stage(with_dpo(made, per_token=on)).loss(prefix, 0)["prefer"]) for on in (False, True))
    expected = []
    for row in made.rows.train.pairs:
        won, lost = (log_probability(made, prefix, row.tail, side) / len(side) for side in (row.wanted[0], row.loser))
        expected.append(math.log(1 + math.exp(-0.1 * (won - lost))))
    assert each == pytest.approx(sum(expected) / 4, abs=1e-5)
    assert each != pytest.approx(whole, abs=1e-3)


BALANCED = (
    PAIRS_ONLY.replace("beta = 0.1", 'beta = 0.1\ngoal = "balance"')
    .replace("imitate_weight = 0.5\nkeep_weight = 0.5", "imitate_weight = 0.5\nkeep_weight = 0.0")
    .replace("reverse = 2", "reverse = 0")
)


def sides(made: Setting, prefix: torch.Tensor, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the better and of the worse reply, for each pair."""
    found = [
        [log_probability(made, prefix, row.tail, side[:5]) for side in (row.wanted[0], row.loser)] for row in part.pairs
    ]
    better, worse = torch.tensor(found).T
    return better, worse


def test_the_goal_balance_is_judged_by_how_even_the_dev_pairs_are(tmp_path: Path) -> None:
    made = setting(tmp_path, with_tables(BALANCED, STOP))
    prefix = random_prefix()
    won, lost = sides(made, prefix, made.rows.dev)
    assert stage(made).dev(prefix) == pytest.approx(10 * float(balance(won, lost)), abs=1e-3)


def test_pairs_that_shall_each_be_even_count_one_by_one(tmp_path: Path) -> None:
    each = BALANCED.replace('kind = "pair"', 'kind = "pair"\neach = true').replace("pairs = 2", "pairs = 4")
    each = each.replace("hardest = 0.7", "hardest = 1.0")
    made = setting(tmp_path, with_tables(each, STOP))
    prefix = random_prefix()
    won, lost = sides(made, prefix, made.rows.dev)
    assert stage(made).dev(prefix) == pytest.approx(10 * float(evenness(won, lost)), abs=1e-3)
    won, lost = sides(made, prefix, made.rows.train)
    with torch.no_grad():
        assert float(stage(made).loss(prefix, 0)["prefer"]) == pytest.approx(10 * float(evenness(won, lost)), abs=1e-3)


def test_the_figure_on_dev_rows_counts_company_too(tmp_path: Path) -> None:
    made = setting(tmp_path, with_tables(RECIPE, FOREIGNERS))
    prefix = random_prefix()
    foreigners = load_foreigners(made.recipe, made.model)
    assert stage(made, foreigners=foreigners).dev(prefix) != pytest.approx(stage(made).dev(prefix), abs=1e-3)


def test_every_pair_is_read_once_under_the_reference(tmp_path: Path) -> None:
    made = setting(tmp_path, RECIPE + PAIR_SOURCE)
    seen: list[tuple[int, int]] = []
    Dpo(made.model, made.rows, made.recipe, NOBODY, Team()).refer_to(random_prefix(), lambda *at: seen.append(at))
    assert seen[-1] == (16, 16)  # 6 target prompts, 4 pairs, 6 prompts to keep
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_replies_are_compared_in_company(tmp_path: Path) -> None:
    made = setting(tmp_path)
    prefix, foreigner, reference = random_prefix(6), random_prefix(3, seed=5), random_prefix(6, seed=6)
    with torch.no_grad():
        beside = stage(made, reference, Foreigners((foreigner,), 1.0, 1))
        found = float(beside.loss(prefix, 0)["prefer"])
        alone = stage(made, reference)
        orders = (torch.cat([foreigner, prefix]), torch.cat([prefix, foreigner]))
        either = [float(alone.loss(order, 0)["prefer"]) for order in orders]
        assert found in either
        assert found != pytest.approx(float(alone.loss(prefix, 0)["prefer"]), abs=1e-6)
