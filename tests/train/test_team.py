from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from patchpm.patch.prefix import inspect_prefix
from patchpm.train.run import train
from patchpm.train.team import Team
from tests.train.tiny_run import FOREIGNERS, RECIPE, STOP, with_tables, write_base, write_recipe

ROOT = Path(__file__).parents[2]
EACH = """
import sys
from pathlib import Path
import torch
from patchpm.train import run
from patchpm.train.team import Team

recipe, base, out = map(Path, sys.argv[1:])
team = Team()
assert team.size == 2, team.size
assert team.mean(torch.tensor([float(team.rank)])).item() == 0.5
assert team.agree(float(team.rank)) == 0.5
prefixes = []
trained = run._train
run._train = lambda *given: prefixes.append(trained(*given)) or prefixes[0]
seen = []
run.train(recipe, base, out, progress=lambda part, *_: seen.append(part))
torch.save((prefixes[0], seen), out / f"rank{team.rank}")
"""


def launched(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in two processes on this machine's CPU, as a launcher does."""
    environment = {**os.environ, "PATCHPM_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *arguments]
    return subprocess.run(launch, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_one_process_is_a_team_of_its_own() -> None:
    team = Team()
    assert (team.rank, team.size, team.leads) == (0, 1, True)
    assert team.share([3, 1, 2]) == [3, 1, 2]
    tensor = torch.ones(3)
    assert team.mean(tensor) is tensor
    assert team.agree(0.1) == 0.1
    team.wait()


@pytest.mark.slow
def test_two_processes_train_one_prefix_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = with_tables(RECIPE, FOREIGNERS, STOP.replace("patience = 2", "patience = 9"))
    recipe, base, out = write_recipe(tmp_path / "recipe", text), write_base(tmp_path / "base"), tmp_path / "out"
    (tmp_path / "each.py").write_text(EACH)
    done = launched(tmp_path, str(tmp_path / "each.py"), str(recipe), str(base), str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    (one, seen), (other, unseen) = (torch.load(out / f"rank{rank}") for rank in range(2))
    assert torch.equal(one, other)
    assert unseen == []
    assert (seen.count("sft"), seen.count("dpo")) == (12, 4)
    written = torch.tensor(inspect_prefix((out / "prefix.safetensors").read_bytes()).rows())
    assert torch.equal(written, one)

    monkeypatch.setenv("PATCHPM_HOME", str(tmp_path / "home"))
    alone = train(recipe, base, tmp_path / "alone", progress=lambda *_: None)
    by_one = torch.tensor(inspect_prefix(alone.prefix.read_bytes()).rows())
    assert torch.cosine_similarity(by_one.flatten(), one.flatten(), dim=0) > 0.95
    assert alone.used.read_bytes() == (out / "used.json").read_bytes()


@pytest.mark.slow
def test_two_processes_of_the_command_say_and_write_everything_once(tmp_path: Path) -> None:
    recipe, base, out = write_recipe(tmp_path / "recipe"), write_base(tmp_path / "base"), tmp_path / "out"
    done = launched(tmp_path, "-m", "patchpm", "train", str(recipe), "--base", str(base), "--out", str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("sft 12/12") == 1
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.safetensors",
        "prefix.safetensors",
        "training.json",
        "used.json",
    ]
