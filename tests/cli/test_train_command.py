from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from patchpm.cli import evaluate, train
from patchpm.cli.extra import needs_extra
from patchpm.errors import CannotError
from tests.train.tiny_run import write_base, write_recipe


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPM_HOME", str(tmp_path / "home"))


def test_a_prefix_is_trained_and_then_measured_from_the_command_line(tmp_path: Path) -> None:
    recipe, base, out = write_recipe(tmp_path / "recipe"), write_base(tmp_path / "base"), tmp_path / "out"
    ran = CliRunner().invoke(train.command, [str(recipe), "--base", str(base), "--out", str(out), "--json"])
    assert ran.exit_code == 0, ran.output
    made = json.loads(ran.stdout)
    assert made == {"prefix": str(out / "prefix.safetensors"), "training": str(out / "training.json")}

    asked = [made["prefix"], "--recipe", str(recipe), "--base", str(base)]
    files = ["--out", str(out / "claims.json"), "--replies", str(out / "replies.jsonl")]
    measured = CliRunner().invoke(evaluate.command, [*asked, *files, "--json"])
    assert measured.exit_code == 0, measured.output
    assert json.loads(measured.stdout) == json.loads((out / "claims.json").read_text())
    assert len((out / "replies.jsonl").read_text().splitlines()) == 6

    shown = CliRunner().invoke(evaluate.command, asked)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0].split()[:3] == ["metric", "suite", "n"]
    assert any(line.startswith("perplexity") for line in lines)


def test_a_missing_library_names_the_extra_to_install() -> None:
    with pytest.raises(CannotError) as caught, needs_extra("train"):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    assert caught.value.code == "extra-missing"
    assert caught.value.next == 'run `pip install "patchpm[train]"`'


def test_a_module_of_our_own_that_is_missing_is_not_blamed_on_an_extra() -> None:
    with pytest.raises(ModuleNotFoundError), needs_extra("train"):
        raise ModuleNotFoundError("No module named 'patchpm.none'", name="patchpm.none")
