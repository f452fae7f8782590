"""Evaluation harnesses measure the patched model, by its own path through each of them.

Needs `PATCHPM_HARNESSES`: the `bin` folder of an environment with `requirements-harnesses.txt`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HARNESSES = os.environ.get("PATCHPM_HARNESSES")

pytestmark = [
    pytest.mark.engines,
    pytest.mark.slow,
    pytest.mark.skipif(HARNESSES is None, reason="PATCHPM_HARNESSES names no environment with the harnesses"),
]


def run(harness: str, folder: Path) -> Any:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **offline, "PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "hf")}
    command = [f"{HARNESSES}/python", "-m", "tests.engines.harness_run", harness, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "result.json").read_text())


def test_lm_eval_measures_the_patched_model(tmp_path: Path) -> None:
    result = run("lm-eval", tmp_path)
    assert len(result["found"]) == 4
    assert result["found"] == pytest.approx(result["wanted"], abs=1e-4)
    assert max(abs(one - other) for one, other in zip(result["found"], result["without"], strict=True)) > 0.1


def test_inspect_ai_measures_the_patched_model(tmp_path: Path) -> None:
    result = run("inspect", tmp_path)
    assert result["found"] == result["wanted"]
    assert result["found"] != result["without"]
