"""`patchpm serve` with a real engine, as an operator runs it: a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from patchpm.cli.app import run
from patchpm.model.demo_base import extract_demo_gguf
from patchpm.settings import Folders

LABEL = "smol"
THREE = ("patchpm/toxicity", "patchpm/bias", "patchpm/harmfulness")
START = 1800
"""Seconds an engine gets to start on a busy machine."""
OPTIONS: dict[str, tuple[str, ...]] = {
    "vllm": ("--dtype", "float32", "--enforce-eager", "--max-model-len", "2048"),
    "transformers": ("--device", "cpu", "--dtype", "float32"),
    "llama.cpp": ("--ctx-size", "8192"),
}
_VLLM = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", "KMP_BLOCKTIME": "0"}
HTTP = urllib3.PoolManager(retries=False, timeout=600)


def bin_folder() -> Path:
    """The folder with the engines' executables."""
    named = os.environ.get("PATCHPM_ENGINES_BIN")
    return Path(named) if named else Path(__file__).parents[2] / ".venv-engines" / "bin"


@dataclass(frozen=True)
class Project:
    """A project folder for the real model."""

    folder: Path
    base: Path
    gguf: Path

    @classmethod
    def made(cls, root: Path, base: Path) -> Project:
        """With the three patches that ship."""
        folder = root / "project"
        folder.mkdir()
        gguf = root / "stock.gguf"
        extract_demo_gguf(Folders.of_user().cache, gguf)
        project = cls(folder, base, gguf)
        project.run("init", "--base", str(base), "--label", LABEL)
        project.run("install", *THREE)
        return project

    def run(self, *arguments: str) -> None:
        """A command in the project."""
        here = Path.cwd()
        os.chdir(self.folder)
        try:
            assert run(list(arguments)) == 0
        finally:
            os.chdir(here)

    def keep_only(self, *names: str) -> None:
        """Have these patches, and lock them."""
        for name in THREE:
            if (name in names) != (name in self.lock):
                self.run("install" if name in names else "remove", name)

    @property
    def lock(self) -> str:
        return (self.folder / "patchpm.lock").read_text()


@dataclass
class Served:
    """A gateway with its engine."""

    url: str
    popen: subprocess.Popen[bytes]
    log: Path

    def chat(self, content: str, **fields: Any) -> tuple[Any, dict[str, str]]:
        """One chat completion: the answer and the headers."""
        body = {"model": LABEL, "messages": [{"role": "user", "content": content}], "temperature": 0, **fields}
        answer = HTTP.request(
            "POST",
            f"{self.url}/v1/chat/completions",
            body=json.dumps(body),
            headers={"content-type": "application/json"},
        )
        assert answer.status == 200, answer.data
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return (answer.data if fields.get("stream") else answer.json()), headers

    def events(self, event: str) -> list[Any]:
        """What it logged under a name."""
        lines = [json.loads(text) for text in self.log.read_text().splitlines() if text.startswith("{")]
        return [found for found in lines if found["event"] == event]


@contextmanager
def served(project: Project, engine: str, log: Path, *options: str) -> Iterator[Served]:
    """Run `patchpm serve --engine` with the three patches, and end it."""
    project.keep_only(*THREE)
    command = [
        *(sys.executable, "-m", "patchpm", "serve", "--engine", engine, "--engine-bin", str(bin_folder())),
        *("--project", str(project.folder), "--port", "0", "--start-timeout", str(START), *options),
        *(("--gguf", str(project.gguf)) if engine == "llama.cpp" else ()),
        *("--", *OPTIONS[engine]),
    ]
    environment = {**os.environ, **_VLLM, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with log.open("wb") as opened:
        popen = subprocess.Popen(command, stdout=opened, stderr=opened, env=environment)
    try:
        yield Served(_address(popen, log), popen, log)
    finally:
        popen.send_signal(signal.SIGTERM)
        popen.wait(120)


def _address(popen: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START
    while popen.poll() is None and time.monotonic() < end:
        found = re.search(r" at (http://\S+);", log.read_text())
        if found is not None:
            try:
                if HTTP.request("GET", f"{found[1]}/health", timeout=2).status == 200:
                    return found[1]
            except urllib3.exceptions.HTTPError:
                pass
        time.sleep(0.5)
    raise AssertionError(log.read_text()[-4000:])
