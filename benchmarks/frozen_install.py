"""How long a warm, frozen install takes, side by side with uv and pip.

`patchpm install --frozen` of 10 patches reads and hashes all files, and checks every signature; `uv sync --frozen`
links 10 wheels of the same size from its warm cache into a fresh environment; `pip install --target` takes the same
wheels from a local index. Every command of a round runs once before the next round, so all of them meet the same
weather.

    python benchmarks/frozen_install.py [--rounds 15] [--json]
"""

from __future__ import annotations

import argparse
import base64
import compileall
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import patchpm
from patchpm.model.fingerprint import fingerprint
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel
from patchpm.patch.manifest import Compose, FileRef, Manifest, Prefix, Training
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.name import PatchName
from patchpm.patch.prefix import PrefixMatrix, write_prefix
from patchpm.patch.release import ReleaseFiles
from patchpm.patch.version import Version
from patchpm.registry.folder import FolderHost
from patchpm.registry.roles import RootRoles
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.policy import key_set
from patchpm.trust.private_keys import PrivateKey, generate

PATCHES, TOKENS, WIDTH = 10, 50, 576
_BIN = Path(sys.executable).parent


def main() -> None:
    """Set the three up, time them, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    compileall.compile_dir(Path(patchpm.__file__).parent, quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["PATCHPM_HOME"] = str(root / "home")
        os.environ["UV_CACHE_DIR"] = str(root / "uv-cache")
        for variable in ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "CI"):
            os.environ.pop(variable, None)
        commands = {
            "patchpm install --frozen": _patchpm(root / "patchpm"),
            "uv sync --frozen": _uv(root / "uv", fresh=True),
            "uv sync --frozen, nothing to do": _uv(root / "uv-again", fresh=False),
            "pip install": _pip(root / "pip"),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(options.rounds + 2):
            for name, timed in commands.items():
                spent = timed()
                if number >= 2:
                    times[name].append(spent)
    medians = {name: statistics.median(found) for name, found in times.items()}
    ours = medians["patchpm install --frozen"]
    rows = [
        {
            "command": name,
            "median_ms": round(median, 1),
            "min_ms": round(min(times[name]), 1),
            "ours_against_it": round(ours / median, 2),
        }
        for name, median in medians.items()
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'command':<34}{'median ms':>10}{'min ms':>9}{'ours / it':>11}")
    for row in rows:
        print(f"{row['command']:<34}{row['median_ms']:>10}{row['min_ms']:>9}{row['ours_against_it']:>11}")


def _patchpm(root: Path) -> Callable[[], float]:
    model = small_model(root / "model")
    operator, vendor = generate(), generate()
    held = key_set([operator.public], 1)
    writer = RegistryWriter(FolderHost(root / "registry"), [operator, vendor], datetime.now(UTC))
    pin = writer.create(RootRoles(held, held, held, held))
    writer.add_vendor("acme", key_set([vendor.public], 1))
    for number in range(PATCHES):
        writer.publish(signed_release(number, model, vendor))
    program, project = str(_BIN / "patchpm"), root / "project"
    project.mkdir()
    for arguments in (
        ["registry", "add", "corp", str(root / "registry"), "--root", str(pin), "--namespace", "acme"],
        ["init", "--base", str(model)],
    ):
        subprocess.run([program, *arguments], cwd=project, check=True, stdout=subprocess.DEVNULL)
    toml = project / "patchpm.toml"
    toml.write_text(f"{toml.read_text()}\n[compose]\nmax-tokens = {PATCHES * TOKENS}\n")
    names = [f"acme/patch-{number}" for number in range(PATCHES)]
    subprocess.run([program, "install", *names], cwd=project, check=True, stdout=subprocess.DEVNULL)
    return lambda: _timed([program, "install", "--frozen"], project)


def small_model(folder: Path) -> Path:
    """A base model of the usual width and of few words."""
    folder.mkdir(parents=True)
    save_file({"model.embed_tokens.weight": np.ones((16, WIDTH), np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"hidden_size": WIDTH}))
    return folder


def signed_release(number: int, model: Path, vendor: PrivateKey) -> ReleaseFiles:
    """A release of `acme/patch-<number>` for a model, with a prefix of usual size."""
    rows = np.random.default_rng(number).standard_normal((TOKENS, WIDTH), np.float32)
    prefix = write_prefix(PrefixMatrix("F32", TOKENS, WIDTH, rows.tobytes()))
    found = fingerprint(model).fingerprint
    assert found.tensors is not None
    manifest = Manifest(
        kind="prefix",
        name=PatchName("acme", f"patch-{number}"),
        version=Version.parse("1.0.0"),
        domain="toxicity",
        summary="For timing only",
        licence="Apache-2.0",
        base=BaseModel("bench", found.tensors, found.bf16, (), (), None, None, WIDTH),
        prefix=Prefix(FileRef(len(prefix), Digest.of(prefix)), TOKENS, "F32", ("system-start",), ""),
        compose=Compose(),
        training=Training("none", Digest.of(b""), "none", 0, "benchmark", ()),
        claims=(),
        links=(),
    )
    return sign_release(write_manifest(manifest), prefix, [vendor])


def _wheels(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(PATCHES):
        name = f"bench_patch_{number}"
        info = f"{name}-1.0.0.dist-info"
        files = {
            f"{name}/__init__.py": b"",
            f"{name}/prefix.bin": np.random.default_rng(number).bytes(TOKENS * WIDTH * 4),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: bench-patch-{number}\nVersion: 1.0.0\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = f"{info}/RECORD"
        lines = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in files.items()]
        with zipfile.ZipFile(folder / f"{name}-1.0.0-py3-none-any.whl", "w") as wheel:
            for path, data in {**files, record: "\n".join([*lines, f"{record},,", ""]).encode()}.items():
                wheel.writestr(path, data)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _uv(root: Path, *, fresh: bool) -> Callable[[], float]:
    _wheels(root / "wheels")
    project = root / "project"
    project.mkdir()
    needed = ", ".join(f'"bench-patch-{number}"' for number in range(PATCHES))
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "bench"\nversion = "1.0.0"\nrequires-python = ">=3.11"\ndependencies = [{needed}]\n'
        f'[tool.uv]\npackage = false\n[[tool.uv.index]]\nname = "local"\nurl = "{root / "wheels"}"\n'
        'format = "flat"\ndefault = true\n'
    )
    uv = str(_BIN / "uv")
    _timed([uv, "lock", "--offline", "--python", sys.executable], project)
    _timed([uv, "sync", "--frozen", "--offline", "--python", sys.executable], project)

    def timed() -> float:
        if fresh:
            shutil.rmtree(project / ".venv")
            _timed([uv, "venv", "--offline", "--python", sys.executable], project)
        return _timed([uv, "sync", "--frozen", "--offline"], project)

    return timed


def _pip(root: Path) -> Callable[[], float]:
    _wheels(root / "wheels")
    names = [f"bench-patch-{number}" for number in range(PATCHES)]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "--no-deps",
    ]

    def timed() -> float:
        shutil.rmtree(root / "target", ignore_errors=True)
        return _timed([*command, "--find-links", str(root / "wheels"), "--target", str(root / "target"), *names], root)

    return timed


def _timed(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
