from __future__ import annotations

from pathlib import Path

import pytest

from patchpm.errors import UsageError
from patchpm.patch.digest import Digest
from patchpm.train.recipe import ForeignersRecipe
from patchpm.train.recipe_toml import read_recipe
from tests.train.tiny_run import FOREIGNERS, PAIR_SOURCE, RECIPE, STOP, with_tables, write_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


def refused(folder: Path, *changes: tuple[str, str], text: str = RECIPE) -> UsageError:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    with pytest.raises(UsageError) as caught:
        read_recipe(write_recipe(folder, text))
    assert caught.value.code == "invalid-recipe"
    return caught.value


def without(table: str) -> str:
    """The recipe without one of its tables."""
    start = RECIPE.index(f"[{table}]")
    return RECIPE[:start] + RECIPE[RECIPE.index("\n[", start + 1) + 1 :]


def test_a_recipe_is_read_with_the_digest_of_its_bytes(tmp_path: Path) -> None:
    path = write_recipe(tmp_path)
    recipe = read_recipe(path)
    assert recipe.digest == Digest.of(path.read_bytes())
    assert (recipe.seed, recipe.prefix.tokens, recipe.sft.steps, recipe.dpo.beta) == (7, 6, 12, 0.1)
    assert [(each.source.name, each.kind, each.train, each.dev) for each in recipe.sources] == [
        ("bad", "target", 6, 2),
        ("good", "keep", 6, 2),
    ]


def test_a_table_that_is_left_out_leaves_its_part_of_the_training_out(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, without("dpo")))
    assert (recipe.dpo.steps, recipe.dpo.beta, recipe.dpo.reference, recipe.dpo.goal) == (0, 0.1, "sft", "prefer")
    assert (recipe.foreigners.share, recipe.foreigners.prefixes, recipe.stop.every) == (0.0, (), 0)
    sft = read_recipe(write_recipe(tmp_path, without("sft"))).sft
    assert (sft.steps, sft.rate, sft.target, sft.keep) == (0, 1e-2, 4, 6)


def test_another_seed_may_be_asked_for(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    assert recipe.with_seed(None) is recipe
    assert (recipe.with_seed(3).seed, recipe.with_seed(3).digest) == (3, recipe.digest)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("foreigners/*.toml")), ids=lambda path: str(path.stem))
def test_the_recipes_of_the_repository_are_valid(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.prefix.tokens == 50
    assert set(recipe.suites) == {"toxicity", "bias", "harmfulness", "general"}


def test_an_unknown_key_is_refused_by_its_full_name(tmp_path: Path) -> None:
    assert refused(tmp_path, ("[dpo]\n", "[dpo]\nlearning_rate = 1\n")).why == "dpo.learning_rate"
    assert refused(tmp_path, ("train = 6\n", "train = 6\nheld_out = 1\n")).why == "source[0].held_out"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("steps = 12", 'steps = "12"', "sft.steps"),
        ("steps = 12", "steps = true", "sft.steps"),
        ("steps = 12", "steps = -1", "sft.steps"),
        ("tokens = 6\nanchor", "tokens = 300\nanchor", "prefix.tokens"),
        ("rate = 0.05", "rate = nan", "sft.rate"),
        ("rate = 0.05", "rate = inf", "sft.rate"),
        ("rate = 0.05", "rate = -1", "sft.rate"),
        ('anchor = "system-start"', 'anchor = "text-start"', "prefix.anchor"),
        ('kind = "given"', 'kind = "oracle"', "teacher.kind"),
        ('replies = ["No.", "I say no."]', "replies = []", "teacher.replies"),
        ('kind = "given"', 'kind = "instruction"', "teacher.instruction"),
        ('kind = "given"', 'kind = "model"', "teacher.model"),
        ('kind = "given"', 'kind = "best-of"', "teacher.samples"),
        ("hardest = 0.7", "hardest = 1.1", "dpo.hardest"),
        ("beta = 0.1", 'beta = 0.1\nreference = "none of them"', "dpo.reference"),
        ("beta = 0.1", 'beta = 0.1\ngoal = "win"', "dpo.goal"),
        ("beta = 0.1", "beta = 0.1\nper_token = 1", "dpo.per_token"),
        ("seed = 7", "", "seed"),
        ('precision = "float32"', 'precision = "float16"', "precision"),
        ('domain = "x-tiny"', 'domain = "tiny"', "tiny"),
        ('suites = ["suite.toml"]', 'suites = "suite.toml"', "suites"),
        ('kind = "keep"', 'kind = "benign"', "source[1].kind"),
        ("train = 6", "train = -6", "source[0].train"),
        ('file = "benign.txt"', 'file = "benign.txt"\npattern = "("', "source[1].pattern"),
        ("schema = 2", "schema = 1", "schema"),
    ],
)
def test_a_wrong_value_is_refused_by_its_full_name(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert named in refused(tmp_path, (old, new)).what


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ([('name = "good"', 'name = "bad"')], "same name"),
        ([('file = "benign.txt"\ntrain = 6', 'file = "benign.txt"')], "both sorts"),
        ([('file = "harmful.txt"\ntrain = 6', 'file = "harmful.txt"')], "both sorts"),
        ([("steps = 12", "steps = 0"), ("steps = 4", "steps = 0")], "neither stage"),
        ([("beta = 0.1", 'beta = 0.1\nreference = "none"')], "dpo.hardest"),
        ([("beta = 0.1", 'beta = 0.1\nreference = "teacher"')], "teacher.instruction"),
        ([("beta = 0.1", 'beta = 0.1\ngoal = "balance"')], "dpo.goal balance is for pairs"),
        ([('kind = "keep"', 'kind = "keep"\neach = true')], "is for pairs and dpo.goal balance"),
        ([('kind = "given"', 'kind = "instruction"\ninstruction = "Say no."')], "dpo.reverse"),
        ([("[dpo]", "[foreigners]\nshare = 0.5\n[dpo]")], "foreigners.share"),
        ([('kind = "target"', 'kind = "pair"'), ("steps = 12", "steps = 0")], "columns"),
        ([("[dpo]", f"{STOP}[dpo]"), ("dev = 2", "dev = 0")], "dev rows"),
    ],
)
def test_what_contradicts_itself_or_would_do_nothing_is_refused(
    tmp_path: Path, changes: list[tuple[str, str]], named: str
) -> None:
    assert named in refused(tmp_path, *changes).what


def test_the_first_stage_needs_target_prompts_and_the_second_is_content_with_pairs(tmp_path: Path) -> None:
    pairs = RECIPE[: RECIPE.index("[[source]]")] + RECIPE[RECIPE.rindex("[[source]]") :] + PAIR_SOURCE
    assert "sft" in refused(tmp_path, text=pairs).what
    recipe = read_recipe(write_recipe(tmp_path, with_tables(pairs.replace("steps = 12", "steps = 0"), STOP)))
    assert [each.kind for each in recipe.sources] == ["keep", "pair"]


def test_balance_is_for_pairs_alone_and_needs_dev_rows_to_stop_by(tmp_path: Path) -> None:
    pairs = RECIPE[: RECIPE.index("[[source]]")] + RECIPE[RECIPE.rindex("[[source]]") :] + PAIR_SOURCE
    balanced = pairs.replace("steps = 12", "steps = 0").replace("beta = 0.1", 'beta = 0.1\ngoal = "balance"')
    assert "is for pairs" in refused(tmp_path, text=balanced).what
    alone = balanced.replace("reverse = 2", "reverse = 0")
    assert "stop.every" in refused(tmp_path, text=alone).what
    assert read_recipe(write_recipe(tmp_path, with_tables(alone, STOP))).dpo.goal == "balance"


def test_foreigners_are_read(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, with_tables(RECIPE, FOREIGNERS)))
    assert recipe.foreigners == ForeignersRecipe(0.5, 2, ("foreign.safetensors",), ("Speak of shoes.",))


def test_what_is_not_toml_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"schema = \xff")
    with pytest.raises(UsageError, match="is not TOML"):
        read_recipe(path)
    with pytest.raises(UsageError, match="cannot read the recipe"):
        read_recipe(tmp_path / "none.toml")
