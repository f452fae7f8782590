from __future__ import annotations

import json
from pathlib import Path

import pytest

from patchpm.errors import CannotError, UsageError
from patchpm.patch.digest import Digest
from patchpm.patch.prefix import inspect_prefix
from patchpm.train.recipe import read_recipe
from patchpm.train.run import CHECKPOINT, first_prefix, load_model, train
from patchpm.train.teacher import opens_with_refusal
from tests.train.tiny_run import RECIPE, write_base, write_recipe


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPM_HOME", str(tmp_path / "home"))


class Stopped(BaseException):
    """Stands for a kill: nothing may catch it."""


class Watch:
    """Progress that is remembered, and that can stop the run."""

    def __init__(self, *, stop: tuple[str, int] | None = None) -> None:
        self.stop = stop
        self.losses: dict[str, list[dict[str, float]]] = {}

    def __call__(self, part: str, done: int, _total: int, figures: dict[str, float]) -> None:
        self.losses.setdefault(part, []).append(figures)
        if (part, done) == self.stop:
            raise Stopped


def test_training_teaches_the_refusal_and_writes_the_prefix_and_its_statement(tmp_path: Path) -> None:
    watch = Watch()
    text = RECIPE.replace("tokens = 6\nanchor", "tokens = 16\nanchor").replace("steps = 12", "steps = 60")
    recipe = write_recipe(tmp_path / "recipe", text.replace("rate = 0.05", "rate = 0.1"))
    result = train(recipe, write_base(tmp_path / "base"), tmp_path / "out", progress=watch)
    matrix = inspect_prefix(result.prefix.read_bytes())
    assert (matrix.dtype, matrix.tokens, matrix.hidden_size) == ("F32", 16, 32)
    assert watch.losses["sft"][-1]["refuse"] < 0.5 * watch.losses["sft"][0]["refuse"]
    assert set(watch.losses["dpo"][0]) == {"prefer", "refuse", "stay"}
    statement = json.loads(result.training.read_text())
    assert statement["recipe"] == str(Digest.of(recipe.read_bytes()))
    assert statement["seed"] == 7
    assert [row["name"] for row in statement["data"]] == ["bad", "good"]
    assert statement["data"][0]["sha256"] == str(Digest.of((recipe.parent / "harmful.txt").read_bytes()))


@pytest.mark.parametrize("stop", [("replies", 6), ("sft", 11), ("reference", 6), ("dpo", 3)])
def test_a_run_killed_in_any_part_ends_in_the_same_bytes(tmp_path: Path, stop: tuple[str, int]) -> None:
    recipe, base = write_recipe(tmp_path / "recipe"), write_base(tmp_path / "base")
    whole = train(recipe, base, tmp_path / "whole", progress=Watch())
    with pytest.raises(Stopped):
        train(recipe, base, tmp_path / "cut", progress=Watch(stop=stop)) if stop[0] != "replies" else _fresh(
            recipe, base, tmp_path, stop
        )
    again = Watch()
    cut = train(recipe, base, tmp_path / "cut", progress=again)
    assert cut.prefix.read_bytes() == whole.prefix.read_bytes()
    assert cut.training.read_bytes() == whole.training.read_bytes()
    if stop[0].startswith(("reference", "dpo")):
        assert "sft" not in again.losses


def test_another_seed_gives_another_prefix(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    prefixes = [
        train(
            write_recipe(tmp_path / str(seed), text), base, tmp_path / f"out{seed}", progress=Watch()
        ).prefix.read_bytes()
        for seed, text in ((7, RECIPE), (8, RECIPE.replace("seed = 7", "seed = 8")))
    ]
    assert prefixes[0] != prefixes[1]


def test_without_dpo_steps_the_prefix_of_the_first_stage_is_the_result(tmp_path: Path) -> None:
    watch = Watch()
    recipe = write_recipe(tmp_path, RECIPE.replace("steps = 4", "steps = 0"))
    train(recipe, write_base(tmp_path / "base"), tmp_path / "out", progress=watch)
    assert set(watch.losses) == {"replies", "sft"}


def test_a_changed_recipe_does_not_go_on_from_the_old_checkpoint(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    train(write_recipe(tmp_path), base, tmp_path / "out", progress=Watch())
    assert (tmp_path / "out" / CHECKPOINT).is_file()
    with pytest.raises(CannotError) as caught:
        train(write_recipe(tmp_path, RECIPE.replace("0.05", "0.04")), base, tmp_path / "out", progress=Watch())
    assert caught.value.code == "foreign-checkpoint"


def test_the_first_prefix_repeats_its_text_up_to_its_length(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    model = load_model(write_base(tmp_path / "base"), recipe)
    rows = first_prefix(model, recipe)
    period = len(model.frame.encode(recipe.prefix.initial_text))
    assert rows.shape == (6, 32)
    assert all((rows[number] == rows[number % period]).all() for number in range(6))


def test_a_folder_without_a_model_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        train(write_recipe(tmp_path), tmp_path / "none", tmp_path / "out", progress=Watch())
    assert caught.value.code == "base-not-found"


def test_the_judge_of_training_rows_knows_openings() -> None:
    assert opens_with_refusal("I\u2019m sorry, but I can't")
    assert opens_with_refusal("  I cannot do that")
    assert not opens_with_refusal("You can say: I'm sorry.")


def _fresh(recipe: Path, base: Path, folder: Path, stop: tuple[str, int]) -> None:
    """Run with an empty cache, so that the base's replies are computed and can be stopped."""
    for path in (folder / "home").rglob("*.safetensors"):
        path.unlink()
    train(recipe, base, folder / "cut", progress=Watch(stop=stop))
