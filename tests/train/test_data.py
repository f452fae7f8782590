from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchpm.data.overlap import NearDuplicates
from patchpm.data.suite import Suite, load_suite
from patchpm.errors import UsageError
from patchpm.patch.digest import Digest
from patchpm.train.data import TrainingData, load_data
from patchpm.train.recipe_toml import read_recipe
from tests.data.tables import suite_source, write_suite
from tests.train.tiny_run import BENIGN, HARMFUL, PAIR_SOURCE, PAIRS, RECIPE, SUITE, write_recipe

Made = TypeVar("Made")
RECIPES = Path(__file__).parents[2] / "recipes"


def load(folder: Path, text: str = RECIPE) -> TrainingData:
    return load_data(read_recipe(write_recipe(folder, text)), folder / "cache")


def prompts(data: TrainingData) -> list[str]:
    return [record.prompt for record in data.trained_on]


def test_training_and_dev_rows_are_disjoint_and_from_the_file(tmp_path: Path) -> None:
    bad = load(tmp_path).of_kind("target")[0]
    assert (bad.name, len(bad.train), len(bad.dev)) == ("bad", 6, 2)
    assert not {*bad.train} & {*bad.dev}
    assert {record.prompt for record in (*bad.train, *bad.dev)} < {*HARMFUL}
    assert bad.digest == Digest.of((tmp_path / "harmful.txt").read_bytes())


def test_rows_are_given_by_kind(tmp_path: Path) -> None:
    data = load(tmp_path, RECIPE + PAIR_SOURCE)
    assert {record.prompt for split in data.of_kind("keep") for record in split.train} < {*BENIGN}
    pair = data.of_kind("pair")[0].train[0]
    assert (pair.prompt, *pair.texts) in PAIRS


def test_the_split_does_not_hang_on_the_seed_of_the_recipe(tmp_path: Path) -> None:
    splits = [load(tmp_path, RECIPE.replace("seed = 7", f"seed = {seed}")).sources for seed in (7, 8)]
    assert [[split.train for split in sources] for sources in zip(*splits, strict=True)] == [
        [split.train] * 2 for split in splits[0]
    ]


def test_no_row_is_used_by_two_sources(tmp_path: Path) -> None:
    again = RECIPE.replace("train = 6", "train = 3") + (
        '[[source]]\nname = "again"\nkind = "keep"\nlicence = "MIT"\nfile = "harmful.txt"\ntrain = 4\n'
    )
    found = prompts(load(tmp_path, again))
    assert len(found) == len({*found}) == 14


def test_a_row_of_a_suite_and_what_is_like_it_are_not_trained_on(tmp_path: Path) -> None:
    path = write_recipe(tmp_path)
    (tmp_path / "harmful_held_out.txt").write_text("Tell me how to steal a big red car today\none\ntwo\n")
    (tmp_path / "harmful.txt").write_text("\n".join([*HARMFUL[:8], "tell me how to steal a big red car now!"]) + "\n")
    found = load_data(read_recipe(path), tmp_path).of_kind("target")[0]
    assert {record.prompt for record in (*found.train, *found.dev)} == {*HARMFUL[:8]}


def test_rows_of_a_group_that_is_held_out_are_not_trained_on(tmp_path: Path) -> None:
    text = RECIPE.replace('file = "harmful.txt"\ntrain = 6', 'file = "h.csv"\nfield = "ask"\ngroup = "who"\ntrain = 4')
    path = write_recipe(tmp_path, text)
    held = SUITE.replace('file = "harmful_held_out.txt"\nrows = 3',
                         'file = "held.csv"\nfield = "ask"\ngroup = "who"\ngroups = 1\nrows = 1')  # fmt: skip
    (tmp_path / "suite.toml").write_text(held)
    (tmp_path / "held.csv").write_text("who,ask\nbaker,why bread\n")
    rows = [("baker", f"what bread on day {number}") for number in range(6)]
    rows += [("cook", f"what soup on day {number}") for number in range(6)]
    rows += [("pilot", f"which plane on day {number}") for number in range(6)]
    (tmp_path / "h.csv").write_text("who,ask\n" + "".join(f"{who},{ask}\n" for who, ask in rows))
    found = load_data(read_recipe(path), tmp_path).of_kind("target")[0]
    train, dev = ({record.group for record in part} for part in (found.train, found.dev))
    assert train | dev == {"cook", "pilot"}
    assert not train & dev, "dev stands for groups that are new"


def test_too_few_rows_are_an_error_that_says_how_many_are_missing(tmp_path: Path) -> None:
    path = write_recipe(tmp_path)
    (tmp_path / "benign.txt").write_text("\n".join([*BENIGN[:7], "Help, seven!", "mend a sock", ""]))
    with pytest.raises(UsageError) as caught:
        load_data(read_recipe(path), tmp_path)
    assert caught.value.code == "too-few-rows"
    assert "1 more" in caught.value.why


def test_a_suite_of_the_recipes_own_lies_beside_it_wherever_training_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(tmp_path / "deep")
    monkeypatch.chdir(tmp_path)
    assert prompts(load_data(read_recipe(path), tmp_path))


WORDS = st.sampled_from(["steal", "car", "big", "red", "how", "to", "a", "?!", "Car", "boat", "\u2028", "é"])
ASKED = st.lists(WORDS, min_size=1, max_size=9).map(" ".join)
ROWS = st.lists(st.tuples(ASKED, st.sampled_from(["x", "y", "steal a big red car"])), min_size=1, max_size=8)


def the_most(make: Callable[[int], Made], rows: int) -> Made | None:
    """What is made with as many rows as there are."""
    for count in range(rows, 0, -1):
        with contextlib.suppress(UsageError):
            return make(count)
    return None


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(held=ROWS, offered=ROWS, shared=st.integers(0, 8))
def test_whatever_the_files_hold_nothing_measured_on_and_nothing_like_it_is_trained_on(
    held: list[tuple[str, str]], offered: list[tuple[str, str]], shared: int
) -> None:
    offered = [*offered, *held[:shared]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_recipe(folder)
        for file, rows in (("held", held), ("offered", offered)):
            values = ({"ask": ask, "more": more} for ask, more in rows)
            (folder / f"{file}.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))

        def suite(count: int) -> Suite:
            table = suite_source("held", count, file="held.jsonl", more='columns = ["ask", "more"]\n')
            return load_suite(str(write_suite(folder, "suite", table)), folder)

        def training(count: int) -> TrainingData:
            more = f'file = "offered.jsonl"\ncolumns = ["ask", "more"]\ntrain = {count}\ndev = 0'
            path.write_text(RECIPE.replace('file = "harmful.txt"\ntrain = 6\ndev = 2', more))
            return load_data(read_recipe(path), folder)

        measured, trained = the_most(suite, len(held)), the_most(training, len(offered))
    if measured is None or trained is None:
        return
    rows_measured = measured.parts[0].records
    near = NearDuplicates(record.key for record in rows_measured)
    assert not [record for record in trained.trained_on if record.key in near]
    assert not {record.asked for record in trained.trained_on} & {record.asked for record in rows_measured}


def test_the_demos_prompts_are_unlike_any_own_training_prompt() -> None:
    folder = RECIPES / "harmfulness"
    demo = json.loads((RECIPES / "demo_prompts.json").read_text())
    near = NearDuplicates(demo["harmful"] + demo["toxic"] + demo["benign"])
    for name in ("harmful_train", "contrast_train", "everyday_train"):
        assert [line for line in (folder / f"{name}.txt").read_text().splitlines() if line in near] == []
