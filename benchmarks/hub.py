"""How long publishing and pulling take on a registry server, side by side with the Hub's own `hf` command.

Both work against the same server, on loopback, in processes of their own. `patchpm publish` signs and adds a release of
three files, its page, its tags and the registry's metadata; `hf upload` adds the same three files. `patchpm install`
starts from nothing: it verifies the registry, resolves, fetches, verifies and locks; `hf download` starts from nothing
as well and fetches the files. Each round runs all of them once, so that they meet the same weather.

The last part adds a round-trip time to every request, and compares resolving and pulling ten patches cold, within one
process, with the round-trip floor: requests that must follow one another (root, timestamp, snapshot, targets, role,
files), with those of each step at once.

    python benchmarks/hub.py [--rounds 50] [--milliseconds 20] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import urllib3
import uvicorn
from frozen_install import PATCHES, signed_release, small_model
from starlette.types import ASGIApp, Receive, Scope, Send

import patchpm
from patchpm.registry.folder import FolderHost
from patchpm.registry.hosts import open_host
from patchpm.registry.roles import RootRoles
from patchpm.registry.transfer import transfer
from patchpm.registry.writer import RegistryWriter
from patchpm.server.accounts import ORG, USER
from patchpm.server.app import build_app
from patchpm.server.site import Options, open_site
from patchpm.trust.policy import key_set
from patchpm.trust.private_keys import generate

_BIN = Path(sys.executable).parent
_REGISTRY = "acme/patchpm-registry"


@dataclass
class Bench:
    """A server, a registry on it, and who may write there."""

    root: Path
    endpoint: str
    pin: str
    seconds: list[float]
    """What is added to every request; one number, so that it can be changed while the server runs."""

    @property
    def url(self) -> str:
        """Of the registry."""
        return f"hf+{self.endpoint}/{_REGISTRY}"


def main() -> None:
    """Set up, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--milliseconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    compileall.compile_dir(Path(patchpm.__file__).parent, quiet=1)
    for variable in ("PYTHONDONTWRITEBYTECODE", "CI", "HF_ENDPOINT"):
        os.environ.pop(variable, None)
    with tempfile.TemporaryDirectory() as folder, _bench(Path(folder)) as bench:
        times = _rounds(_commands(bench), options.rounds)
        bench.seconds[0] = options.milliseconds / 1000
        cold = {"ten patches, cold": lambda _: _install_many(bench), "round-trip floor": lambda _: _floor(bench)}
        times |= _rounds(cold, min(options.rounds, 20))
    rows = [
        (name, statistics.median(found) * 1000, min(found) * 1000, max(found) * 1000) for name, found in times.items()
    ]
    if options.json:
        print(json.dumps([dict(zip(("what", "median_ms", "min_ms", "max_ms"), row, strict=True)) for row in rows]))
        return
    print(f"{'what':<32}{'median ms':>12}{'min ms':>10}{'max ms':>10}")
    for name, *figures in rows:
        print(f"{name:<32}{figures[0]:>12.0f}{figures[1]:>10.0f}{figures[2]:>10.0f}")
    median = {row[0]: row[1] for row in rows}
    keys = list(median)
    for ours, theirs in zip(keys[::2], keys[1::2], strict=True):
        print(f"{ours} / {theirs}: {median[ours] / median[theirs]:.2f}")


def _rounds(commands: Mapping[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each command in each round but for the first."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, timed in commands.items():
            times[name].append(timed(number))
    return {name: found[1:] for name, found in times.items()}


@contextmanager
def _bench(root: Path) -> Iterator[Bench]:
    seconds = [0.0]
    site = open_site(Options(f"sqlite:///{root / 'registry.db'}", str(root / "blobs")))
    site.accounts.add(ORG, "acme")
    site.accounts.add(USER, "ann")
    site.accounts.set_member("acme", "ann", "write")
    token = site.accounts.issue("ann", "benchmark", scope="write")[1]
    app = build_app(site)

    async def delayed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and seconds[0]:
            await asyncio.sleep(seconds[0])
        await app(scope, receive, send)

    with _served(delayed) as endpoint:
        os.environ |= {"PATCHPM_TOKENS": f"{endpoint}={token}", "HF_TOKEN": token, "HF_HOME": str(root / "hf")}
        os.environ |= {
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "PATCHPM_HOME": str(root / "h"),
        }
        yield Bench(root, endpoint, _registry(root, endpoint), seconds)


@contextmanager
def _served(app: ASGIApp) -> Iterator[str]:
    # As the command does it: without the protocol, asyncio leaves small answers waiting for acknowledgements.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def _registry(root: Path, endpoint: str) -> str:
    """A registry of ten patches on the server; returns the digest of its root."""
    model = small_model(root / "model")
    operator, vendor = generate(), generate()
    for name, key in (("operator", operator), ("vendor", vendor)):
        (root / f"{name}.key").write_bytes(key.to_openssh(None))
    held = key_set([operator.public], 1)
    writer = RegistryWriter(FolderHost(root / "registry"), [operator, vendor], datetime.now(UTC))
    pin = writer.create(RootRoles(held, held, held, held))
    writer.add_vendor("acme", key_set([vendor.public], 1))
    for number in range(PATCHES):
        writer.publish(signed_release(number, model, vendor))
    transfer(FolderHost(root / "registry"), open_host(f"hf+{endpoint}/{_REGISTRY}"))
    for number in range(1, 100):
        folder = root / "new" / str(number)
        folder.mkdir(parents=True)
        for file, data in signed_release(1000 + number, model, vendor).items():
            (folder / file).write_bytes(data)
    return str(pin)


def _commands(bench: Bench) -> dict[str, Callable[[int], float]]:
    keys = [part for name in ("operator", "vendor") for part in ("--key", str(bench.root / f"{name}.key"))]
    project, hub = bench.root / "project", {"HF_ENDPOINT": bench.endpoint}

    def publish(number: int) -> float:
        return _run(["patchpm", "publish", str(bench.root / "new" / str(number + 1)), "--registry", bench.url, *keys])

    def upload(number: int) -> float:
        repo = f"acme/uploaded-{number}"
        _run(["hf", "repos", "create", repo], hub)
        return _run(["hf", "upload", repo, str(bench.root / "new" / str(number + 1)), "."], hub)

    def install(_: int) -> float:
        _fresh(bench, project)
        return _run(["patchpm", "install", "acme/patch-0"], folder=project)

    def download(_: int) -> float:
        shutil.rmtree(bench.root / "hf", ignore_errors=True)
        return _run(["hf", "download", "acme/patch-0", "--revision", "v1.0.0"], hub)

    return {"patchpm publish": publish, "hf upload": upload, "patchpm install": install, "hf download": download}


def _fresh(bench: Bench, project: Path) -> None:
    shutil.rmtree(bench.root / "h", ignore_errors=True)
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir()
    trust = ["--root", bench.pin, "--namespace", "acme"]
    _run(["patchpm", "registry", "add", "corp", bench.url, *trust])
    _run(["patchpm", "init", "--base", str(bench.root / "model")], folder=project)
    toml = project / "patchpm.toml"
    toml.write_text(f"{toml.read_text()}\n[compose]\nmax-tokens = 1000\n")


def _install_many(bench: Bench) -> float:
    """In this process, so that start-up does not count."""
    from patchpm.cli.app import run

    project = bench.root / "project"
    seconds, bench.seconds[0] = bench.seconds[0], 0.0
    _fresh(bench, project)
    open_host.cache_clear()
    bench.seconds[0] = seconds
    names = [f"acme/patch-{number}" for number in range(PATCHES)]
    began = time.perf_counter()
    code = run(["install", "--project", str(project), "--json", *names])
    spent = time.perf_counter() - began
    assert code == 0
    return spent


def _floor(bench: Bench) -> float:
    metadata = f"{_REGISTRY}/resolve/main/metadata"
    found = bench.root / "registry"
    newest = {name: _newest(found / "metadata", name) for name in ("snapshot", "targets", "acme")}
    files = [_address(path) for path in sorted((found / "patches").rglob("*")) if path.is_file()]
    steps = [[f"{metadata}/{file}"] for file in ("1.root.json", "timestamp.json", *newest.values())] + [files]
    pool = urllib3.PoolManager(maxsize=32)
    with ThreadPoolExecutor(32) as threads:
        began = time.perf_counter()
        for step in steps:
            answers = list(threads.map(lambda path: pool.request("GET", f"{bench.endpoint}/{path}").status, step))
            assert set(answers) == {200}, answers
        return time.perf_counter() - began


def _address(path: Path) -> str:
    """Of a release's file on the server."""
    *_, vendor, name, version, base, file = path.parts
    return f"{vendor}/{name}/resolve/{quote(f'v{version}+{base}', safe='')}/{base}/{file}"


def _newest(folder: Path, name: str) -> str:
    return max((path.name for path in folder.glob(f"*.{name}.json")), key=lambda text: int(text.split(".")[0]))


def _run(command: list[str], more: dict[str, str] | None = None, *, folder: Path | None = None) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        [str(_BIN / command[0]), *command[1:]],
        cwd=folder,
        env=os.environ | (more or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    spent = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return spent


if __name__ == "__main__":
    main()
