from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from patchpm.errors import IntegrityError, UsageError
from patchpm.evaluate.claims import claims_file, replies_file, share_claim
from patchpm.evaluate.run import evaluate, read_matrix
from patchpm.train.data import load_prompts
from patchpm.train.recipe import read_recipe
from patchpm.train.run import prefix_file, train
from tests.train.tiny_run import write_base, write_recipe


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPM_HOME", str(tmp_path / "home"))


def silent(_done: int, _total: int) -> None:
    """Show nothing."""


def test_there_is_a_claim_for_each_suite_and_kind_and_it_counts_the_replies(tmp_path: Path) -> None:
    recipe, base = write_recipe(tmp_path / "recipe"), write_base(tmp_path / "base")
    result = train(recipe, base, tmp_path / "out", progress=lambda *_: None)
    found = evaluate(base, result.prefix, recipe, progress=silent)
    assert [(claim.metric, claim.suite, claim.n) for claim in found.claims[:4]] == [
        ("refusal-rate", "held-out-harmful", 3),
        ("refusal-rate", "bad", 3),
        ("over-refusal-rate", "held-out-benign", 3),
        ("over-refusal-rate", "good", 3),
    ]
    assert [(claim.metric, claim.suite) for claim in found.claims[4:]] == [("perplexity", "prose")]
    assert all(claim.low <= claim.after <= claim.high for claim in found.claims)
    assert any(one.before != one.after for one in found.exchanges)
    assert not {one.prompt for one in found.exchanges} & set(
        load_prompts(read_recipe(recipe), tmp_path).train("harmful")
    )


def test_a_share_is_claimed_before_and_after_with_its_interval() -> None:
    claim = share_claim("refusal-rate", "suite", [False] * 10, [True] * 5 + [False] * 5)
    assert (claim.n, claim.before, claim.after) == (10, 0.0, 0.5)
    assert (claim.low, claim.high) == (0.2366, 0.7634)


def test_the_files_of_an_evaluation_are_json_and_the_same_every_time(tmp_path: Path) -> None:
    recipe, base = write_recipe(tmp_path / "recipe"), write_base(tmp_path / "base")
    path = tmp_path / "prefix.safetensors"
    path.write_bytes(prefix_file(torch.randn(6, 32, generator=torch.Generator().manual_seed(0))))
    one, other = (evaluate(base, path, recipe, progress=silent) for _ in range(2))
    assert claims_file(one.claims) == claims_file(other.claims)
    assert replies_file(one.exchanges) == replies_file(other.exchanges)
    rows = json.loads(claims_file(one.claims))
    assert set(rows[0]) == {"metric", "suite", "n", "before", "after", "low", "high"}
    first = json.loads(replies_file(one.exchanges).splitlines()[0])
    assert first["kind"] == "harmful"
    assert first["prompt"].startswith("harm ")


def test_a_prefix_of_another_width_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prefix.safetensors"
    path.write_bytes(prefix_file(torch.zeros(2, 16)))
    with pytest.raises(IntegrityError, match="does not fit"):
        read_matrix(path, 32)
    assert read_matrix(path, 16).shape == (2, 16)
    with pytest.raises(UsageError, match="cannot read"):
        read_matrix(tmp_path / "none", 16)
