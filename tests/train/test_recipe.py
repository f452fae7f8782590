from __future__ import annotations

from pathlib import Path

import pytest

from patchpm.errors import UsageError
from patchpm.patch.digest import Digest
from patchpm.train.recipe import read_recipe
from tests.train.tiny_run import RECIPE, write_recipe


def refused(folder: Path, old: str, new: str) -> UsageError:
    assert old in RECIPE
    with pytest.raises(UsageError) as caught:
        read_recipe(write_recipe(folder, RECIPE.replace(old, new, 1)))
    assert caught.value.code == "invalid-recipe"
    return caught.value


def test_a_recipe_is_read_with_the_digest_of_its_bytes(tmp_path: Path) -> None:
    path = write_recipe(tmp_path)
    recipe = read_recipe(path)
    assert recipe.digest == Digest.of(path.read_bytes())
    assert (recipe.seed, recipe.prefix.tokens, recipe.sft.steps, recipe.dpo.beta) == (7, 6, 12, 0.1)
    assert [source.name for source in recipe.sources] == ["bad", "good", "prose"]


def test_the_recipe_in_the_repository_is_valid() -> None:
    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "harmfulness" / "recipe.toml")
    assert recipe.prefix.tokens == 50
    held = {
        kind: sum(source.held_out for source in recipe.sources if source.kind == kind) for kind in ("harmful", "benign")
    }
    assert held["harmful"] >= 200
    assert held["benign"] >= 200


def test_an_unknown_key_is_refused_by_its_full_name(tmp_path: Path) -> None:
    error = refused(tmp_path, "[dpo]\n", "[dpo]\nlearning_rate = 1\n")
    assert error.why == "dpo.learning_rate"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("steps = 12", 'steps = "12"', "sft.steps"),
        ("steps = 12", "steps = true", "sft.steps"),
        ("steps = 12", "steps = 0", "sft.steps"),
        ("tokens = 6\nanchor", "tokens = 300\nanchor", "prefix.tokens"),
        ("rate = 0.05", "rate = nan", "sft.rate"),
        ("rate = 0.05", "rate = inf", "sft.rate"),
        ("rate = 0.05", "rate = -1", "sft.rate"),
        ('anchor = "system-start"', 'anchor = "text-start"', "prefix.anchor"),
        ('refusals = ["No."]', "refusals = []", "replies.refusals"),
        ("hardest = 0.7", "hardest = 1.1", "dpo.hardest"),
        ("seed = 7", "", "seed"),
        ('kind = "text"', 'kind = "prose"', "source[2].kind"),
        ('file = "text.txt"', 'file = "text.txt"\npattern = "("', "source[2].pattern"),
        ('file = "text.txt"', 'file = "text.txt"\nwheel = "a==1"', "source[2].wheel_sha256"),
        ("schema = 1", "schema = 2", "schema"),
    ],
)
def test_a_wrong_value_is_refused_by_its_full_name(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert named in refused(tmp_path, old, new).what


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, 'name = "good"', 'name = "bad"').why == "bad"


def test_a_recipe_without_benign_prompts_is_refused(tmp_path: Path) -> None:
    assert "benign" in refused(tmp_path, 'file = "benign.txt"\ntrain = 6', 'file = "benign.txt"').what


def test_what_is_not_toml_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"schema = \xff")
    with pytest.raises(UsageError, match="is not TOML"):
        read_recipe(path)
    with pytest.raises(UsageError, match="cannot read the recipe"):
        read_recipe(tmp_path / "none.toml")
