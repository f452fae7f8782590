"""What the benchmarks of engines share: the models they run, the engines, and how one is asked.

Engines are taken from the folder in PATCHPM_ENGINES_BIN, else from `.venv-engines/bin` of `make test-engines`.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import urllib3

from patchpm.cli.app import run
from patchpm.cli.locked_set import LockedSet, locked_set
from patchpm.export.hf_folder import export_hf
from patchpm.export.patched_gguf import place_in_gguf, write_patched_gguf
from patchpm.gateway.engine import Engine
from patchpm.gateway.engine_command import engine_command
from patchpm.model.demo_base import demo_base, extract_demo_gguf
from patchpm.model.fingerprint import fingerprint
from patchpm.settings import Folders

NAME = "smol"
SETS = {
    "none": (),
    "one": ("patchpm/harmfulness",),
    "three": ("patchpm/toxicity", "patchpm/bias", "patchpm/harmfulness"),
}
"""The shipped releases that are composed, in the resolver's order."""
VLLM = ("--dtype", "float32", "--enforce-eager", "--max-model-len", "2048")
"""Options under which vLLM for CPUs runs next to other work."""
_VLLM_ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "KMP_BLOCKTIME": "0",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True, slots=True)
class Models:
    """The base with one patch set, in every form."""

    project: Path
    """Its lock pins the set."""
    folder: Path
    """For vLLM and transformers."""
    quantised: Path
    """GGUF, Q4_1 as the base came, with a head of its own: llama.cpp counts suppressed tokens in log-probabilities."""
    whole: Path
    """GGUF with the same weights in float32: what differs there is the engine, not the number type."""
    first: int
    """The least id of a prefix token."""


def bin_folder() -> Path:
    """The folder with the engines' executables."""
    named = os.environ.get("PATCHPM_ENGINES_BIN")
    return Path(named) if named else Path(__file__).parents[1] / ".venv-engines" / "bin"


def base_folder() -> Path:
    """The demo's base model, where the user keeps it."""
    with _home(None):
        return demo_base(Folders.of_user().cache)


def make_models(root: Path, name: str) -> Models:
    """Make the forms of one set of `SETS`, or find them in `root` from an earlier run.

    What patchpm keeps goes to `root` too, but for the base model.
    """
    base = base_folder()
    stock = _stock_gguf(root)
    project = root / f"project-{name}"
    found = Models(project, root / f"{name}", root / f"{name}.q4_1.gguf", root / f"{name}.f32.gguf", 49152)
    if name == "none":
        return Models(project, base, stock[0], stock[1], found.first)
    with _home(root / "home"):
        locked = _locked(project, base, SETS[name])
    if not found.folder.exists():
        export_hf(base, locked.patches, locked.base.fingerprint, found.folder)
    for source, target in zip(stock, (found.quantised, found.whole), strict=True):
        if not target.exists():
            digest = fingerprint(source).fingerprint.tensors
            assert digest is not None
            write_patched_gguf(place_in_gguf(source, locked.patches, folder=base), target, digest, untie=True)
    return found


@contextmanager
def home_of(root: Path) -> Iterator[None]:
    """Let patchpm keep its things in `root`."""
    with _home(root / "home"):
        yield


@contextmanager
def serving(engine: str, model: Path, *more: str) -> Iterator[Engine]:
    """Run a stock engine, as `patchpm serve` starts it."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    command = engine_command(engine, folder=bin_folder(), more=more)

    def wait(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    # The engine's Python must not find the packages of the one that runs this.
    with _environment({**_VLLM_ENVIRONMENT, "PYTHONPATH": None, "PYTHONDONTWRITEBYTECODE": None}):
        started: Engine = wait(Engine.start(command, model, NAME, deadline=1800))
    try:
        yield started
    finally:
        wait(started.stop())
        loop.call_soon_threadsafe(loop.stop)


def ask(url: str, path: str = "/v1/chat/completions", **body: Any) -> Any:
    """One request; returns the answer.

    Raises:
        RuntimeError: Where the engine refuses.
    """
    answer = urllib3.request(
        "POST", url + path, body=json.dumps({"model": NAME, **body}), headers={"content-type": "application/json"},
        timeout=1800, retries=False,
    )  # fmt: skip
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {answer.data[:500]!r}")
    return answer.json()


def _locked(project: Path, base: Path, patches: Sequence[str]) -> LockedSet:
    if not (project / "patchpm.lock").exists():
        project.mkdir(parents=True, exist_ok=True)
        here = Path.cwd()
        os.chdir(project)
        try:
            assert run(["init", "--base", str(base), "--label", NAME]) == 0
            assert run(["install", *patches]) == 0
        finally:
            os.chdir(here)
    return locked_set(project, None)


@contextmanager
def _home(folder: Path | None) -> Iterator[None]:
    """Let patchpm keep its things in `folder`, or where it does without a word."""
    with _environment({"PATCHPM_HOME": None if folder is None else str(folder)}):
        yield


@contextmanager
def _environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables, or take them away, for the length of a `with` block."""
    before = {name: os.environ.get(name) for name in changes}

    def put(values: Mapping[str, str | None]) -> None:
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    put(changes)
    try:
        yield
    finally:
        put(before)


def _stock_gguf(root: Path) -> tuple[Path, Path]:
    """The base as the GGUF that it came in, and with every tensor in float32."""
    quantised, whole = root / "none.q4_1.gguf", root / "none.f32.gguf"
    if not quantised.exists():
        root.mkdir(parents=True, exist_ok=True)
        with _home(None):
            extract_demo_gguf(Folders.of_user().cache, quantised)
    if not whole.exists():
        _dequantise(quantised, whole)
    return quantised, whole


def _dequantise(source: Path, target: Path) -> None:
    """Write a GGUF again with float32 tensors."""
    from gguf import GGUFReader, GGUFWriter, dequantize

    reader = GGUFReader(source)
    writer = GGUFWriter(target.with_suffix(".new"), arch="llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        sub = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=sub)
    writer.add_file_type(0)
    for tensor in reader.tensors:
        shape = tuple(int(size) for size in reversed(tensor.shape))
        numbers = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        writer.add_tensor(tensor.name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    shutil.move(target.with_suffix(".new"), target)
