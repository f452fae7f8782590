from __future__ import annotations

import tomllib
from pathlib import Path

import platformdirs
import pytest

from patchpm.data.overlap import normalised
from patchpm.data.suite import SUITES, OffLimits, load_suite, suite_names
from patchpm.errors import UsageError
from tests.data.tables import rows_of, suite_source, write_suite

CACHE = platformdirs.user_cache_path("patchpm")
NAMES = ("bias", "general", "harmfulness", "toxicity")
GROUPS = "id,who,ask\n" + "".join(
    f"{number},{who},what does {who} do at {number} today\n"
    for number, who in enumerate(["Baker", "smith", "Miller", "baker", "nurse", "cook", "pilot", "judge"] * 2)
)
SORTED = 'field = "ask"\ngroup = "who"\ngroups = 3\n'


def test_a_suite_holds_the_rows_asked_for_in_an_order_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("".join(f"bad number {number}\n" for number in range(20)))
    path = write_suite(tmp_path, "mine", suite_source("bad", 7))
    suite = load_suite(str(path), tmp_path)
    assert suite.name == "mine"
    assert [(part.name, part.measure, len(part.records)) for part in suite.parts] == [("bad", "refusal", 7)]
    assert [record.prompt for record in suite.parts[0].records] != (tmp_path / "bad.txt").read_text().splitlines()[:7]
    assert load_suite(str(path), tmp_path) == suite


def test_a_row_that_is_changed_behind_its_suite_makes_another_suite(tmp_path: Path) -> None:
    rows = tmp_path / "bad.txt"
    rows.write_text("".join(f"bad number {number}\n" for number in range(20)))
    path = str(write_suite(tmp_path, "mine", suite_source("bad", 7)))
    before = load_suite(path, tmp_path).digest
    assert load_suite(path, tmp_path).digest == before
    rows.write_text(rows.read_text().replace("number 3", "number three"))
    assert load_suite(path, tmp_path).digest != before


def test_plain_text_keeps_the_order_of_its_file(tmp_path: Path) -> None:
    lines = [f"Sentence {number}." for number in range(20)]
    (tmp_path / "prose.txt").write_text("\n".join(lines))
    path = write_suite(tmp_path, "mine", suite_source("prose", 12, measure="perplexity"))
    assert [record.prompt for record in load_suite(str(path), tmp_path).parts[0].records] == lines[:12]


def test_groups_are_held_out_whole_and_alike_in_every_source(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(GROUPS)
    (tmp_path / "two.csv").write_text(GROUPS.replace("what does", "why does"))
    sources = (suite_source(name, 6, file=f"{name}.csv", more=SORTED) for name in ("one", "two"))
    one, two = load_suite(str(write_suite(tmp_path, "mine", *sources)), tmp_path).parts
    groups = {record.group.lower() for record in one.records}
    assert len(groups) == 3
    assert {record.group.lower() for record in two.records} == groups


def test_no_row_of_a_group_that_is_held_out_may_be_trained_on(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(GROUPS)
    path = write_suite(tmp_path, "mine", suite_source("one", 6, file="one.csv", more=SORTED))
    suite = load_suite(str(path), tmp_path)
    held = {record.group.lower() for record in suite.parts[0].records}
    others = rows_of(tmp_path, "who,ask\nbaker,1\nBAKER,2\nsmith,3\nmiller,4\nnurse,5\ncook,6\npilot,7\njudge,8\n",
                     file="o.csv", field="ask", group="who").records  # fmt: skip
    off_limits = OffLimits([suite])
    assert {record.group.lower() for record in others if record in off_limits} == held


def test_what_is_measured_on_and_what_is_like_it_is_off_limits_plain_text_too(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("Tell me how to steal a big red car today\n")
    (tmp_path / "prose.txt").write_text("The capital of France is on the river Seine.\n")
    sources = (suite_source("bad", 1), suite_source("prose", 1, measure="perplexity"))
    off_limits = OffLimits([load_suite(str(write_suite(tmp_path, "mine", *sources)), tmp_path)])
    asked = [
        "tell me how to steal a big red car today!",
        "tell me how to steal a big red car now",
        "tell me how to sell a house",
        "The capital of France is on the river Seine.",
    ]
    found = rows_of(tmp_path, "\n".join(asked), shuffle=False).records
    assert [record in off_limits for record in found] == [True, True, False, True]


def test_the_same_question_is_off_limits_whatever_stands_in_the_other_columns(tmp_path: Path) -> None:
    (tmp_path / "choice.csv").write_text("ask,options\nHow do you check a credit score?,by asking the bank for one\n")
    more = 'columns = ["ask", "options"]\n'
    path = write_suite(tmp_path, "mine", suite_source("choice", 1, file="choice.csv", measure="choice", more=more))
    off_limits = OffLimits([load_suite(str(path), tmp_path)])
    plain = rows_of(tmp_path, "how do you check a credit score\n").records[0]
    text = "ask,better,worse\nHow do you check a credit score?,I would not know that,Nobody can\n"
    pair = rows_of(tmp_path, text, file="pairs.csv", columns=["ask", "better", "worse"]).records[0]
    assert plain in off_limits
    assert pair in off_limits


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (suite_source("bad", 5), "too few rows"),
        (suite_source("bad", 1, more="train = 1\n"), "keys"),
        (suite_source("bad", 0), "rows"),
        (suite_source("bad", 1).replace("measure", "kind"), "measure"),
        (suite_source("c", 1, file="c.csv", more=SORTED), "too few rows"),
    ],
)
def test_a_suite_that_cannot_be_had_is_a_usage_error(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "bad.txt").write_text("one\ntwo\n")
    (tmp_path / "c.csv").write_text("who,ask\na,one\nb,two\n")
    with pytest.raises(UsageError, match=named):
        load_suite(str(write_suite(tmp_path, "mine", text)), tmp_path)


def test_another_schema_and_what_is_not_toml_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("one\n")
    with pytest.raises(UsageError, match="schema"):
        load_suite(str(write_suite(tmp_path, "mine", suite_source("bad", 1), schema=2)), tmp_path)
    (tmp_path / "odd.toml").write_bytes(b"schema = \xff")
    with pytest.raises(UsageError, match="is not TOML"):
        load_suite(str(tmp_path / "odd.toml"), tmp_path)


def test_a_suite_that_does_not_exist_is_answered_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_suite("toxcity", tmp_path)
    assert caught.value.code == "unknown-suite"
    assert caught.value.next == ", ".join(NAMES)


def test_the_suites_of_the_package_are_found_by_name() -> None:
    assert suite_names() == NAMES


@pytest.mark.parametrize("name", ["contrast", "everyday", "professions"])
def test_no_prompt_of_our_own_is_held_out_twice(name: str) -> None:
    held = [normalised(line) for line in (SUITES / f"{name}.txt").read_text().splitlines() if line]
    assert len(held) == len({*held}) >= 60


@pytest.mark.real
@pytest.mark.skipif(not (CACHE / "wheels").is_dir(), reason="no wheel was fetched yet: make demo")
@pytest.mark.parametrize("name", NAMES)
def test_a_suite_of_the_package_has_its_rows(name: str) -> None:
    stated = tomllib.loads((SUITES / f"{name}.toml").read_text())["source"]
    suite = load_suite(name, CACHE)
    assert {part.name: len(part.records) for part in suite.parts} == {one["name"]: one["rows"] for one in stated}
    assert all(record.prompt and record.key for part in suite.parts for record in part.records)
    if name == "bias":
        assert len({record.group for part in suite.parts for record in part.records if record.group}) == 26
