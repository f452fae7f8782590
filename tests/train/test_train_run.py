from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from patchpm.errors import CannotError, UsageError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest_json import training_from
from patchpm.patch.prefix import inspect_prefix
from patchpm.patch.record import Record
from patchpm.train.base_model import load_model
from patchpm.train.data import load_data
from patchpm.train.matrix import prefix_file
from patchpm.train.recipe_toml import read_recipe
from patchpm.train.run import CHECKPOINT, TrainResult, first_prefix, train
from patchpm.train.used import Used, row_digest
from tests.train.tiny_run import (
    FOREIGNERS,
    PAIR_SOURCE,
    RECIPE,
    STOP,
    random_prefix,
    with_tables,
    write_base,
    write_recipe,
)

EVERYTHING = with_tables(RECIPE + PAIR_SOURCE, FOREIGNERS, STOP)
"""Both stages, all kinds of sources, company, and dev rows."""
TO_THE_END = EVERYTHING.replace("patience = 2", "patience = 4")
"""The same, with no stage that ends early."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPM_HOME", str(tmp_path / "home"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base")


class Stopped(BaseException):
    """Stands for a kill: nothing may catch it."""


class Watch:
    """Progress that is remembered, and that can stop the run."""

    def __init__(self, *, stop: tuple[str, int] | None = None) -> None:
        self.stop = stop
        self.figures: dict[str, list[dict[str, float]]] = {}

    def __call__(self, part: str, done: int, _total: int, figures: dict[str, float]) -> None:
        self.figures.setdefault(part, []).append(figures)
        if self.stop is not None and part == self.stop[0] and done >= self.stop[1]:
            raise Stopped


def bytes_of(recipe: Path, base: Path, out: Path, *, seed: int | None = None) -> bytes:
    return train(recipe, base, out, seed=seed, progress=Watch()).prefix.read_bytes()


@dataclass(frozen=True)
class Run:
    """A recipe that was trained."""

    recipe: Path
    base: Path
    out: Path
    result: TrainResult

    @classmethod
    def of(cls, folder: Path, text: str) -> Run:
        recipe, base, out = write_recipe(folder / "recipe", text), write_base(folder / "base"), folder / "out"
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("PATCHPM_HOME", str(folder / "home"))
            return cls(recipe, base, out, train(recipe, base, out, progress=Watch()))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.of(tmp_path_factory.mktemp("plain"), RECIPE)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.of(tmp_path_factory.mktemp("rich"), EVERYTHING)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """What a run gives that nothing stops, for those that were stopped to be held against."""
    return Run.of(tmp_path_factory.mktemp("unbroken"), TO_THE_END).result


def test_training_teaches_the_wanted_reply_and_writes_the_prefix_with_a_statement(tmp_path: Path, base: Path) -> None:
    watch = Watch()
    text = RECIPE.replace("tokens = 6\nanchor", "tokens = 16\nanchor").replace("steps = 12", "steps = 60")
    recipe = write_recipe(tmp_path / "recipe", text.replace("rate = 0.05", "rate = 0.1"))
    result = train(recipe, base, tmp_path / "out", progress=watch)
    matrix = inspect_prefix(result.prefix.read_bytes())
    assert (matrix.dtype, matrix.tokens, matrix.hidden_size) == ("F32", 16, 32)
    assert watch.figures["sft"][-1]["imitate"] < 0.5 * watch.figures["sft"][0]["imitate"]
    assert set(watch.figures["sft"][0]) == {"imitate", "keep", "rate", "steps/s"}
    assert set(watch.figures["dpo"][0]) == {"prefer", "imitate", "keep", "rate", "steps/s"}
    statement = json.loads(result.training.read_text())
    assert statement["recipe"] == str(Digest.of(recipe.read_bytes()))
    assert (statement["seed"], statement["teacher"]) == (7, "refusals written by hand")
    assert statement["method"] == "prefix: sft then dpo with kl anchor"
    assert [row["name"] for row in statement["data"]] == ["bad", "good"]
    assert statement["data"][0]["sha256"] == str(Digest.of((recipe.parent / "harmful.txt").read_bytes()))


def test_the_statement_is_one_that_a_manifest_takes(rich: Run) -> None:
    read = training_from(
        Record(json.loads(rich.result.training.read_text()), "training.json", code="malformed-training")
    )
    assert read.method == "prefix: sft then dpo with kl anchor, beside foreign prefixes"
    assert [source.name for source in read.data] == ["bad", "good", "both"]


def test_the_rows_used_are_exactly_those_of_training_and_dev(tmp_path: Path, rich: Run) -> None:
    used = Used.read(rich.result.used.read_bytes())
    sources = load_data(read_recipe(rich.recipe), tmp_path).sources
    keys = [record.key for split in sources for record in (*split.train, *split.dev)]
    assert used.rows == {row_digest(key) for key in keys}
    assert len(used.rows) == len(keys) == 22
    assert row_digest("harm apple") in used.rows or row_digest("harm river") in used.rows
    assert row_digest("wound a cat") not in used.rows
    assert used.filter == ""


@pytest.mark.parametrize(
    "stop",
    [
        *(("sft", 5), ("dpo", 1)),
        *(
            pytest.param(stop, marks=pytest.mark.slow)
            for stop in (("replies", 6), ("sft", 1), ("sft", 11), ("sft", 12), ("reference", 6), ("dpo", 3))
        ),
    ],
    ids=lambda stop: f"{stop[0]}-{stop[1]}",
)
def test_a_run_killed_in_any_part_ends_in_the_same_bytes(
    tmp_path: Path, base: Path, unbroken: TrainResult, stop: tuple[str, int]
) -> None:
    recipe = write_recipe(tmp_path / "recipe", TO_THE_END)
    with pytest.raises(Stopped):
        train(recipe, base, tmp_path / "cut", progress=Watch(stop=stop))
    again = Watch()
    cut = train(recipe, base, tmp_path / "cut", progress=again)
    assert cut.prefix.read_bytes() == unbroken.prefix.read_bytes()
    assert cut.training.read_bytes() == unbroken.training.read_bytes()
    assert cut.used.read_bytes() == unbroken.used.read_bytes()
    assert ("sft" in again.figures) == (stop[0] in ("replies", "sft"))


def test_a_stage_that_gets_no_better_ends_early_and_a_killed_run_does_so_at_the_same_step(
    tmp_path: Path, base: Path
) -> None:
    text = with_tables(RECIPE, FOREIGNERS, STOP.replace("every = 3\npatience = 2", "every = 2\npatience = 1"))
    text = text.replace("steps = 12", "steps = 200").replace("rate = 0.05", "rate = 0.5")
    recipe = write_recipe(tmp_path / "recipe", text)
    watch = Watch()
    whole = train(recipe, base, tmp_path / "whole", progress=watch)
    steps = len(watch.figures["sft"])
    assert 2 <= steps < 200
    with pytest.raises(Stopped):
        train(recipe, base, tmp_path / "cut", progress=Watch(stop=("sft", steps - 1)))
    cut = train(recipe, base, tmp_path / "cut", progress=Watch())
    assert cut.prefix.read_bytes() == whole.prefix.read_bytes()


def test_another_seed_of_the_recipe_or_of_the_command_gives_another_prefix(
    tmp_path: Path, base: Path, plain: Run
) -> None:
    eight = bytes_of(write_recipe(tmp_path / "eight", RECIPE.replace("seed = 7", "seed = 8")), base, tmp_path / "out8")
    asked = bytes_of(write_recipe(tmp_path / "asked"), base, tmp_path / "outasked", seed=8)
    assert eight != plain.result.prefix.read_bytes()
    assert asked == eight


def test_company_changes_the_prefix(tmp_path: Path, base: Path, plain: Run) -> None:
    beside = bytes_of(write_recipe(tmp_path / "beside", with_tables(RECIPE, FOREIGNERS)), base, tmp_path / "out")
    assert beside != plain.result.prefix.read_bytes()


@pytest.mark.parametrize(("left_out", "parts"), [("dpo", {"replies", "sft"}), ("sft", {"replies", "reference", "dpo"})])
def test_a_stage_without_steps_is_left_out(tmp_path: Path, base: Path, left_out: str, parts: set[str]) -> None:
    watch = Watch()
    steps = {"sft": "steps = 12", "dpo": "steps = 4"}[left_out]
    result = train(write_recipe(tmp_path, RECIPE.replace(steps, "steps = 0")), base, tmp_path / "out", progress=watch)
    assert set(watch.figures) == parts
    assert left_out not in json.loads(result.training.read_text())["method"]


def test_a_finished_run_started_again_trains_nothing_and_writes_the_same(rich: Run) -> None:
    first = rich.result.prefix.read_bytes()
    again = Watch()
    assert train(rich.recipe, rich.base, rich.out, progress=again).prefix.read_bytes() == first
    assert "sft" not in again.figures
    assert "dpo" not in again.figures


def test_a_changed_recipe_seed_or_foreigner_does_not_go_on_from_the_old_checkpoint(tmp_path: Path, base: Path) -> None:
    text = with_tables(RECIPE, FOREIGNERS)
    recipe = write_recipe(tmp_path / "recipe", text)
    bytes_of(recipe, base, tmp_path / "out")
    assert (tmp_path / "out" / CHECKPOINT).is_file()

    def refused(*, seed: int | None = None) -> str:
        with pytest.raises(CannotError) as caught:
            bytes_of(recipe, base, tmp_path / "out", seed=seed)
        return caught.value.code

    assert refused(seed=9) == "foreign-checkpoint"
    (recipe.parent / "foreign.safetensors").write_bytes(prefix_file(random_prefix(4, seed=10)))
    assert refused() == "foreign-checkpoint"
    write_recipe(tmp_path / "recipe", text.replace("0.05", "0.04"))
    assert refused() == "foreign-checkpoint"


def test_the_first_prefix_repeats_its_text_up_to_its_length(tmp_path: Path, base: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    model = load_model(base)
    rows = first_prefix(model, recipe)
    period = len(model.frame.encode(recipe.prefix.initial_text))
    assert rows.shape == (6, 32)
    assert all((rows[number] == rows[number % period]).all() for number in range(6))


def test_training_may_start_from_an_earlier_prefix_whose_rows_count_as_used(tmp_path: Path, base: Path) -> None:
    first = train(write_recipe(tmp_path / "first"), base, tmp_path / "one", progress=Watch())
    earlier = RECIPE.replace('initial_text = "You are helpful"', 'initial_prefix = "../one/prefix.safetensors"')
    later = write_recipe(tmp_path / "later", earlier.replace("train = 6", "train = 2").replace("dev = 2", "dev = 1"))
    model, recipe = load_model(base), read_recipe(later)
    assert prefix_file(first_prefix(model, recipe)) == first.prefix.read_bytes()
    second = train(later, base, tmp_path / "two", progress=Watch())
    before, after = (Used.read(made.used.read_bytes()).rows for made in (first, second))
    assert before <= after
    method = json.loads(second.training.read_text())["method"]
    assert method.endswith(f", from {Digest.of(first.prefix.read_bytes()).hex[:12]}")
    assert len(method) < 90  # manifests take 100
    write_recipe(tmp_path / "later", earlier.replace("tokens = 6\nanchor", "tokens = 7\nanchor"))
    with pytest.raises(UsageError, match="rows"):
        first_prefix(model, read_recipe(later))


def test_bfloat16_trains_a_prefix_much_like_that_of_float32(tmp_path: Path, base: Path) -> None:
    prefixes = []
    for precision in ("float32", "bfloat16"):
        text = RECIPE.replace('"float32"', f'"{precision}"').replace("steps = 4", "steps = 0")
        watch = Watch()
        train(write_recipe(tmp_path / precision, text), base, tmp_path / f"out-{precision}", progress=watch)
        prefixes.append(watch.figures["sft"])
    for whole, half in zip(*prefixes, strict=True):
        assert half["imitate"] == pytest.approx(whole["imitate"], rel=0.1)


def test_a_folder_without_a_model_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        train(write_recipe(tmp_path), tmp_path / "none", tmp_path / "out", progress=Watch())
    assert caught.value.code == "base-not-found"
