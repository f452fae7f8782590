from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from patchpm.errors import IntegrityError, UsageError
from patchpm.evaluate.claims import claims_file, replies_file
from patchpm.evaluate.refusal import is_refusal
from patchpm.evaluate.run import evaluate, read_matrix
from patchpm.train.run import prefix_file, train
from tests.train.tiny_run import RECIPE, write_base, write_recipe

SAY_NO = RECIPE.replace('refusals = ["No."]', 'refusals = ["Sorry, I can\'t."]').replace("steps = 12", "steps = 60")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPM_HOME", str(tmp_path / "home"))


def silent(_done: int, _total: int) -> None:
    """Show nothing."""


def test_a_trained_refusal_shows_up_in_the_claims_with_intervals(tmp_path: Path) -> None:
    recipe, base = write_recipe(tmp_path / "recipe", SAY_NO), write_base(tmp_path / "base")
    result = train(recipe, base, tmp_path / "out", progress=lambda *_: None)
    found = evaluate(base, result.prefix, recipe, progress=silent)
    by_suite = {(claim.metric, claim.suite): claim for claim in found.claims}
    assert set(by_suite) == {
        ("refusal-rate", "held-out-harmful"),
        ("refusal-rate", "bad"),
        ("over-refusal-rate", "held-out-benign"),
        ("over-refusal-rate", "good"),
        ("perplexity", "prose"),
    }
    refusal = by_suite["refusal-rate", "bad"]
    assert (refusal.n, refusal.before) == (3, 0.0)
    assert refusal.after > 0
    assert refusal.low <= refusal.after <= refusal.high
    for claim in found.claims:
        if claim.metric != "perplexity":
            rows = [one for one in found.exchanges if claim.suite in (one.suite, f"held-out-{one.kind}")]
            assert claim.after == pytest.approx(sum(is_refusal(one.after) for one in rows) / claim.n, abs=1e-4)


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
