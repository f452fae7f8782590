from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from patchpm.data.source import Record, source_rows
from patchpm.errors import CannotError, UsageError
from patchpm.patch.digest import Digest
from tests.data.tables import prompts_of, rows_of, source

CSV = "id,kind,ask,answer\n1,a,first one,yes\n2,b,second,no\n3,a,third,maybe\n"


def jsonl(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_each_line_of_a_text_file_is_a_row_and_empty_lines_are_none(tmp_path: Path) -> None:
    assert prompts_of(tmp_path, "one\n\n  two  \nthree") == ["one", "two", "three"]


def test_the_digest_is_that_of_the_files_bytes(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "one\n").digest == Digest.of(b"one\n")


def test_columns_are_joined_by_field_and_kept_apart_by_columns(tmp_path: Path) -> None:
    assert prompts_of(tmp_path, CSV, file="a.csv", field="ask") == ["first one", "second", "third"]
    assert prompts_of(tmp_path, CSV, file="a.csv", field=["ask", "answer"])[0] == "first one\nyes"
    apart = rows_of(tmp_path, CSV, file="a.csv", columns=["ask", "answer"], shuffle=False).records[0]
    assert (apart.prompt, apart.texts, apart.key, apart.asked) == ("first one", ("yes",), "first one yes", "first one")


def test_only_rows_with_the_values_asked_for_are_used(tmp_path: Path) -> None:
    assert prompts_of(tmp_path, CSV, file="a.csv", field="ask", where={"kind": "a"}) == ["first one", "third"]
    assert prompts_of(tmp_path, CSV, file="a.csv", field="ask", where={"kind": "a", "id": "3"}) == ["third"]


def test_only_rows_whose_first_column_has_the_pattern_are_used(tmp_path: Path) -> None:
    assert prompts_of(tmp_path, "why?\nbecause\nhow?\n", pattern=r"\?$") == ["why?", "how?"]
    rows = jsonl({"a": "why?", "b": "x"}, {"a": "x", "b": "why?"})
    assert prompts_of(tmp_path, rows, file="a.jsonl", columns=["a", "b"], pattern=r"\?$") == ["why?"]


def test_a_template_frames_what_is_asked_but_not_what_tells_rows_apart(tmp_path: Path) -> None:
    record = rows_of(tmp_path, "one {}\n", template="Go on: {}!").records[0]
    assert record == Record("Go on: one {}!", (), "", "one", "one")
    assert prompts_of(tmp_path, "one\ntwo\n", template="Write a sentence.") == ["Write a sentence."] * 2


def test_only_the_first_words_are_asked_if_so_wanted(tmp_path: Path) -> None:
    record = rows_of(tmp_path, "one two  three four\n", words=3, template="Go on: {}").records[0]
    assert (record.prompt, record.asked) == ("Go on: one two three", "one two three four")


def test_the_group_is_the_value_of_its_column(tmp_path: Path) -> None:
    records = rows_of(tmp_path, CSV, file="a.csv", field="ask", group="kind", shuffle=False).records
    assert [record.group for record in records] == ["a", "b", "a"]


def test_rows_that_differ_in_case_and_punctuation_only_count_once(tmp_path: Path) -> None:
    assert prompts_of(tmp_path, "Hello, world!\nhello world\nHELLO  WORLD?\n") == ["Hello, world!"]


def test_the_order_follows_from_the_seed_and_the_name_of_the_source(tmp_path: Path) -> None:
    text = "".join(f"row {number}\n" for number in range(30))
    first = rows_of(tmp_path, text).records
    assert rows_of(tmp_path, text).records == first
    assert rows_of(tmp_path, text, seed=1).records != first
    assert rows_of(tmp_path, text, name="other").records != first
    assert sorted(record.key for record in first) == sorted(text.splitlines())


def test_a_row_without_one_of_its_columns_is_passed_over(tmp_path: Path) -> None:
    rows = jsonl({"a": "one", "b": "x"}, {"a": "two", "b": ""}, {"a": "three", "b": None}, {"a": None, "b": "x"})
    assert prompts_of(tmp_path, rows, file="a.jsonl", columns=["a", "b"]) == ["one"]
    assert prompts_of(tmp_path, "a,b\none,x\ntwo\n", file="a.csv", columns=["a", "b"]) == ["one"]


def test_a_line_separator_within_a_json_text_ends_no_row(tmp_path: Path) -> None:
    assert prompts_of(tmp_path, jsonl({"a": "one\u2028two"}, {"a": "three"}), file="a.jsonl", field="a") == [
        "one\u2028two",
        "three",
    ]


def test_a_cell_of_a_csv_file_may_hold_line_feeds(tmp_path: Path) -> None:
    assert prompts_of(tmp_path, 'a\n"one\ntwo"\n', file="a.csv", field="a") == ["one\ntwo"]


@pytest.mark.parametrize(
    ("file", "data", "keys"),
    [
        ("a.csv", CSV, {"field": "none"}),
        ("a.csv", CSV, {"field": "ask", "group": "none"}),
        ("a.csv", CSV, {"field": "ask", "where": {"none": "a"}}),
        ("a.csv", CSV, {}),
        ("a.csv", "a\n" + "x" * 200_000 + "\n", {"field": "a"}),
        ("a.jsonl", '{"a": 1', {"field": "a"}),
        ("a.jsonl", '["a"]\n', {"field": "a"}),
        ("a.jsonl", '"a"\n', {"columns": ["a"]}),
        ("a.txt", b"caf\xe9\n", {}),
        ("a.pdf", "a", {"field": "a"}),
    ],
    ids=[
        "no such column", "no such group", "no such value", "no column named", "a cell too long", "half an object",
        "an array", "a text", "not UTF-8", "no known form",
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_a_usage_error(
    tmp_path: Path, file: str, data: str | bytes, keys: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as caught:
        rows_of(tmp_path, data, file=file, **keys)
    assert caught.value.code == "invalid-recipe"


@pytest.mark.parametrize(
    "keys",
    [
        {"file": "a.csv", "field": "a", "columns": ["a"]},
        {"field": "a"},
        {"columns": ["a"]},
        {"group": "a"},
        {"where": {"a": "b"}},
        {"where": {"a": 1}},
        {"pattern": "("},
        {"wheel": "pack==1"},
        {"licence": ""},
        {"rows": 1},
    ],
)
def test_a_source_that_contradicts_itself_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        source(**keys)
    assert caught.value.code == "invalid-recipe"


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read none\.txt") as caught:
        source_rows(source(file="none.txt"), tmp_path, tmp_path / "cache", seed=0)
    assert caught.value.code == "data-not-found"


def test_a_file_is_read_out_of_a_pinned_wheel_in_the_cache(tmp_path: Path) -> None:
    wheel = tmp_path / "made.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pack/rows.txt", "one\ntwo\n")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "cache" / "wheels").mkdir(parents=True)
    wheel.rename(tmp_path / "cache" / "wheels" / f"{digest}.whl")
    pinned = {"wheel": "pack==1", "wheel_sha256": digest}
    assert prompts_of(tmp_path, "", file="pack/rows.txt", **pinned) == ["one", "two"]
    with pytest.raises(CannotError) as caught:
        prompts_of(tmp_path, "", file="pack/none.txt", **pinned)
    assert caught.value.code == "wheel-file-missing"
