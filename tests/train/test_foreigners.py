from __future__ import annotations

from pathlib import Path

import pytest
import torch

from patchpm.errors import IntegrityError, UsageError
from patchpm.train.foreigners import Company, Foreigners, load_foreigners
from patchpm.train.matrix import prefix_file
from patchpm.train.recipe_toml import read_recipe
from tests.train.tiny_run import FOREIGNERS, RECIPE, prefix_model, random_prefix, with_tables, write_recipe

STOCK = [random_prefix(2, seed=seed) for seed in range(5)]
STEPS = [f"7/sft/company/{step}" for step in range(400)]


def count(company: Company) -> int:
    return len(company.before) + len(company.after)


def test_who_is_there_follows_from_the_name_of_the_step_alone() -> None:
    one, other = Foreigners(STOCK, 0.5, 3), Foreigners(STOCK, 0.5, 3)
    forward = [one.company(step) for step in STEPS]
    backward = [other.company(step) for step in reversed(STEPS)]
    assert forward == backward[::-1]
    assert len({(count(company), len(company.before)) for company in forward}) > 4


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 160, 240), (1.0, 400, 400)])
def test_the_share_of_the_steps_that_have_company_is_as_asked(share: float, least: int, most: int) -> None:
    found = Foreigners(STOCK, share, 2)
    assert least <= sum(count(found.company(step)) > 0 for step in STEPS) <= most


@pytest.mark.parametrize("most", [1, 2, 4])
def test_there_are_never_more_foreigners_than_allowed_and_none_is_there_twice(most: int) -> None:
    companies = [Foreigners(STOCK, 1.0, most).company(step) for step in STEPS]
    assert {count(company) for company in companies} == set(range(1, most + 1))
    for company in companies:
        members = [id(prefix) for prefix in (*company.before, *company.after)]
        assert len(members) == len({*members})


def test_foreigners_stand_on_either_side_and_each_of_them_has_its_turn() -> None:
    companies = [Foreigners(STOCK, 1.0, 2).company(step) for step in STEPS]
    for side in ("before", "after"):
        assert {id(prefix) for company in companies for prefix in getattr(company, side)} == {id(one) for one in STOCK}


def test_a_stock_smaller_than_what_is_allowed_at_once_is_enough() -> None:
    companies = [Foreigners(STOCK[:1], 1.0, 4).company(step) for step in STEPS]
    assert {count(company) for company in companies} == {1}


def test_a_company_is_put_around_the_patch() -> None:
    one, two, prefix = (random_prefix(tokens, seed=tokens) for tokens in (1, 2, 3))
    company = Company((one,), (two,))
    assert torch.equal(company.around(prefix), torch.cat([one, prefix, two]))
    alone = company.alone()
    assert alone is not None
    assert torch.equal(alone, torch.cat([one, two]))
    assert torch.equal(Company().around(prefix), prefix)
    assert Company().alone() is None


def test_steps_are_compared_without_company_and_with_some() -> None:
    assert Foreigners((), 0.5, 2).fixed() == Foreigners(STOCK, 0.0, 2).fixed() == (Company(),)
    alone, beside = Foreigners(STOCK, 0.1, 2).fixed()
    assert (count(alone), len(beside.before), len(beside.after)) == (0, 1, 1)
    assert [count(company) for company in Foreigners(STOCK, 0.1, 1).fixed()] == [0, 1]


def test_trained_prefixes_and_texts_of_a_recipe_are_loaded(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, with_tables(RECIPE, FOREIGNERS.replace("0.5", "1.0"))))
    model = prefix_model()
    found = load_foreigners(recipe, model)
    trained, text = random_prefix(4, seed=9), model.embed_text("Speak of shoes.")
    _, beside = found.fixed()
    assert torch.equal(beside.before[0], trained)
    assert torch.equal(beside.after[0], text)


def test_nothing_is_loaded_where_no_step_has_company(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, with_tables(RECIPE, FOREIGNERS.replace("0.5", "0.0"))))
    (tmp_path / "foreign.safetensors").unlink()
    assert load_foreigners(recipe, prefix_model()).fixed() == (Company(),)


def test_a_foreigner_that_is_missing_or_too_wide_is_refused(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, with_tables(RECIPE, FOREIGNERS)))
    (tmp_path / "foreign.safetensors").write_bytes(prefix_file(torch.zeros(2, 33)))
    with pytest.raises(IntegrityError, match="does not fit") as wide:
        load_foreigners(recipe, prefix_model())
    assert wide.value.code == "malformed-prefix"
    (tmp_path / "foreign.safetensors").unlink()
    with pytest.raises(UsageError) as missing:
        load_foreigners(recipe, prefix_model())
    assert missing.value.code == "prefix-not-found"
