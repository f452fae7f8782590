from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from patchpm.cli import train
from patchpm.cli.extra import needs_extra
from patchpm.errors import CannotError
from tests.train.tiny_run import write_base, write_recipe


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPM_HOME", str(tmp_path / "home"))


def test_a_prefix_is_trained_from_the_command_line(tmp_path: Path) -> None:
    recipe, base, out = write_recipe(tmp_path / "recipe"), write_base(tmp_path / "base"), tmp_path / "out"
    asked = [str(recipe), "--base", str(base), "--out", str(out)]
    ran = CliRunner().invoke(train.command, [*asked, "--json"])
    assert ran.exit_code == 0, ran.output
    made = json.loads(ran.stdout)
    assert made == {
        "prefix": str(out / "prefix.safetensors"),
        "training": str(out / "training.json"),
        "used": str(out / "used.json"),
    }
    assert all(Path(path).is_file() for path in made.values())
    assert json.loads((out / "training.json").read_text())["seed"] == 7
    assert "sft" in ran.stderr

    again = CliRunner().invoke(train.command, asked)
    assert [line.split() for line in again.stdout.splitlines()] == [
        ["prefix", made["prefix"]],
        ["statement", made["training"]],
        ["rows", "used", made["used"]],
    ]


def test_the_seed_of_the_command_goes_before_that_of_the_recipe(tmp_path: Path) -> None:
    recipe, base, out = write_recipe(tmp_path / "recipe"), write_base(tmp_path / "base"), tmp_path / "out"
    ran = CliRunner().invoke(train.command, [str(recipe), "--base", str(base), "--out", str(out), "--seed", "3"])
    assert ran.exit_code == 0, ran.output
    assert json.loads((out / "training.json").read_text())["seed"] == 3


def test_a_missing_library_names_the_extra_to_install() -> None:
    with pytest.raises(CannotError) as caught, needs_extra("train"):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    assert caught.value.code == "extra-missing"
    assert caught.value.next == 'run `pip install "patchpm[train]"`'


def test_a_module_of_our_own_that_is_missing_is_not_blamed_on_an_extra() -> None:
    with pytest.raises(ModuleNotFoundError), needs_extra("train"):
        raise ModuleNotFoundError("No module named 'patchpm.none'", name="patchpm.none")
