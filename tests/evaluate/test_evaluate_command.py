from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from patchpm.evaluate.results import read_results
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.prefix import write_prefix
from patchpm.train.matrix import prefix_file
from patchpm.train.used import Used, row_digest
from patchpm.trust.attestations import sign_release
from tests.builders import manifest, matrix
from tests.evaluate.tiny_suite import part_of, prefix, tiny_suite, write_classifier, write_suite
from tests.train.tiny_run import write_base
from tests.world import World, base_model

FAST = """
schema = 1
seed = 3

[[source]]
name = "bad"
measure = "refusal"
licence = "Apache-2.0"
file = "harmful.txt"
rows = 3

[[source]]
name = "good"
measure = "over-refusal"
licence = "Apache-2.0"
file = "benign.txt"
rows = 3

[[source]]
name = "openings"
measure = "toxicity"
licence = "Apache-2.0"
file = "openings.txt"
template = "Continue this text:\\n\\n{}"
rows = 2
"""


@pytest.fixture(name="asked")
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line that measures a random prefix."""
    made = tmp_path / "made"
    made.mkdir()
    (made / "prefix.safetensors").write_bytes(prefix_file(prefix()))
    suite, judge = write_suite(tmp_path / "suite", FAST), write_classifier(tmp_path / "judge")
    options = ["--base", str(write_base(tmp_path / "base")), "--suite", str(suite), "--judge", f"transformers:{judge}"]
    return ["evaluate", str(made / "prefix.safetensors"), *options]


def test_a_prefix_is_measured_and_every_file_written(tmp_path: Path, world: World, asked: list[str]) -> None:
    names = {"--out": "claims.json", "--replies": "replies.jsonl", "--results": "results.json", "--report": "all.html"}
    files = [word for option, name in names.items() for word in (option, str(tmp_path / name))]
    ran = world.ok(*asked, *files, "--json")
    assert "whether the prefix was trained on held-out rows cannot be checked" in ran.err
    assert ran.json["claims"] == json.loads((tmp_path / "claims.json").read_text())
    assert ran.json["composition"] is None
    assert len((tmp_path / "replies.jsonl").read_text().splitlines()) == 8
    results = read_results((tmp_path / "results.json").read_bytes())
    assert results.base == "base"
    assert len(results.claims) == len(results.changes) == len(ran.json["changes"])
    assert (tmp_path / "all.html").read_text().startswith("<!DOCTYPE html>")


def test_a_person_sees_pooled_figures_and_those_of_the_parts_only_on_demand(world: World, asked: list[str]) -> None:
    short = world.ok(*asked).out
    assert short.splitlines()[0].split()[:4] == ["metric", "suite", "n", "without"]
    assert "held-out-toxic by transformers:" in short
    assert not any(line.split()[1] == "bad" for line in short.splitlines())
    assert any(line.split()[1] == "bad" for line in world.ok(*asked, "--parts").out.splitlines())


def test_a_quick_look_gives_no_claims(tmp_path: Path, world: World, asked: list[str]) -> None:
    for quick in (("--limit", "1"), ("--bfloat16",)):
        assert "a quick look, not claims" in world.ok(*asked, *quick).err
        refused = world.run(*asked, *quick, "--out", str(tmp_path / "claims.json"), "--json")
        assert (refused.code, refused.error["code"]) == (2, "usage")


def test_what_was_measured_in_bfloat16_is_not_taken_for_the_base_in_float32(world: World, asked: list[str]) -> None:
    whole = world.ok(*asked, "--json").json["claims"]
    rough = world.ok(*asked, "--bfloat16", "--json").json["claims"]
    assert [claim["before"] for claim in rough] != [claim["before"] for claim in whole]
    assert world.ok(*asked, "--json").json["claims"] == whole


def test_a_prefix_that_saw_held_out_rows_is_not_measured(tmp_path: Path, world: World, asked: list[str]) -> None:
    key = part_of(tiny_suite(tmp_path), "bad").records[0].key
    (tmp_path / "made" / "used.json").write_bytes(Used("", [row_digest(key)]).write())
    assert world.run(*asked, "--json").error["code"] == "trained-on"
    other = tmp_path / "other.json"
    other.write_bytes(Used(asked[-1], []).write())
    assert world.run(*asked, "--used", str(other), "--json").error["code"] == "judge-is-filter"
    assert world.run(*asked, "--used", str(tmp_path / "none"), "--json").error["code"] == "used-not-found"


@pytest.mark.parametrize("arguments", [(), ("prefix", "--set"), ("prefix",), ("--set", "--base", "model")])
def test_it_is_either_a_prefix_on_its_base_or_the_projects_set(world: World, arguments: tuple[str, ...]) -> None:
    refused = world.run("evaluate", *arguments, "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage")


def publish(world: World, name: str, domain: str, seed: int, separator: str = "") -> None:
    """Publish a random patch for the tiny model."""
    rows = matrix(3, hidden_size=32, seed=seed)
    made = manifest(name, prefix=rows, domain=domain, base=base_model(world.base))
    made = replace(made, prefix=replace(made.prefix, separator=separator))
    assert world.writer().publish(sign_release(write_manifest(made), write_prefix(rows), [world.vendor]))


def with_two(world: World, separator: str = "") -> World:
    """A project for the tiny model with two patches, of which the second has a separator."""
    world.base = write_base(world.root / "models" / "real-tiny")
    publish(world, "acme/toxicity", "toxicity", 1)
    publish(world, "acme/refuse", "harmfulness", 2, separator)
    return world.started("acme/toxicity", "acme/refuse")


@pytest.mark.slow
def test_the_set_of_a_lock_is_measured_as_a_whole_and_in_its_subsets(world: World, asked: list[str]) -> None:
    with_two(world)
    options = asked[4:]
    found = world.ok("evaluate", "--set", *options, "--json").json
    order = [str(name) for name in world.lock.compositions[0].order]
    cells = found["composition"]["cells"]
    assert list(dict.fromkeys(tuple(cell["order"]) for cell in cells)) == [(), (order[0],), (order[1],), tuple(order)]
    (whole,) = [cell for cell in cells if len(cell["order"]) == 2 and cell["metric"] == "refusal-rate"]
    (claim,) = [
        claim for claim in found["claims"] if (claim["metric"], claim["suite"]) == ("refusal-rate", "held-out-harmful")
    ]
    assert (whole["value"], whole["patch"]) == (claim["after"], "acme/refuse")
    every = world.ok("evaluate", "--set", "--every-order", *options, "--limit", "1", "--json").json
    assert len({tuple(cell["order"]) for cell in every["composition"]["cells"]}) == 5
    assert "effect kept" in world.ok("evaluate", "--set", *options, "--limit", "1").out


def test_a_set_whose_patches_stand_apart_in_different_ways_is_not_measured(world: World, asked: list[str]) -> None:
    with_two(world, separator="\n")
    assert world.run("evaluate", "--set", *asked[4:], "--json").error["code"] == "cannot-measure"


def test_the_set_is_not_measured_on_another_model_than_the_locks(world: World, asked: list[str]) -> None:
    with_two(world)
    weights = world.base / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert world.run("evaluate", "--set", *asked[4:], "--json").error["code"] == "base-mismatch"


def test_a_project_without_that_base_is_told_which_ones_it_has(world: World, asked: list[str]) -> None:
    with_two(world)
    refused = world.run("evaluate", "--set", "--base-label", "none", *asked[4:], "--json")
    assert (refused.code, refused.error["code"]) == (2, "which-base")
    assert "tiny" in refused.error["why"]
