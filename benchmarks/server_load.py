"""What one machine's registry server gives a second, side by side with nginx that gives the same bytes from a folder.

Three loads, each by `wrk` over connections that stay open: a small file at a branch (`resolve`, where the server looks
up what the branch is), a prefix of 400 kB at a tag, and the same at its commit. Every round runs each load once against
each server, so that both meet the same weather. Then a long run of small requests, to see whether memory grows.

    python benchmarks/server_load.py [--rounds 7] [--seconds 3] [--workers 1] [--requests 100000] [--json]

It needs `wrk` and `nginx` (Debian: `apt-get install wrk nginx-light`).
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import urllib3

CONNECTIONS = 8
SMALL, LARGE = os.urandom(1024) * 2, os.urandom(1024) * 400
_PATCHPM = str(Path(sys.executable).parent / "patchpm")
_HTTP = urllib3.PoolManager(retries=urllib3.Retry(30, backoff_factor=0.1))


def main() -> None:
    """Start both, load both, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    missing = [name for name in ("wrk", "nginx") if shutil.which(name) is None]
    if missing:
        sys.exit(f"this needs {' and '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ours, process = stack.enter_context(_server(Path(folder), options.workers))
        theirs = stack.enter_context(_nginx(Path(folder, "nginx")))
        commit = _fill(ours, Path(folder, "token").read_text())
        loads = {
            "2 kB at a branch": (f"{ours}/acme/patch/resolve/main/small", f"{theirs}/small"),
            "400 kB at a tag": (f"{ours}/acme/patch/resolve/v1.0.0/large", f"{theirs}/large"),
            "400 kB at a commit": (f"{ours}/acme/patch/resolve/{commit}/large", f"{theirs}/large"),
        }
        rows = [_compared(name, urls, options.rounds, options.seconds) for name, urls in loads.items()]
        memory = _memory(process, loads["2 kB at a branch"][0], options.requests)
    if options.json:
        print(json.dumps({"loads": rows, "memory": memory}, indent=2))
        return
    columns = "{load:<22}{ours:>9}{ours_range:>16}{nginx:>10}{nginx_range:>16}{ratio:>8}"
    print(
        columns.format(
            load="load", ours="ours/s", ours_range="spread", nginx="nginx/s", nginx_range="spread", ratio="ratio"
        )
    )
    for row in rows:
        print(columns.format(**row))
    print("resident memory, MB, after requests:", ", ".join(f"{done:,}: {size:.1f}" for done, size in memory))


def _compared(name: str, urls: tuple[str, str], rounds: int, seconds: int) -> dict[str, object]:
    found: list[list[float]] = [[], []]
    for _ in range(rounds):
        for figures, url in zip(found, urls, strict=True):
            figures.append(_load(url, seconds))
    ours, theirs = (statistics.median(figures) for figures in found)
    ranges = [f"{min(figures):.0f}-{max(figures):.0f}" for figures in found]
    return {
        "load": name,
        "ours": round(ours),
        "ours_range": ranges[0],
        "nginx": round(theirs),
        "nginx_range": ranges[1],
        "ratio": round(ours / theirs, 3),
    }


def _load(url: str, seconds: int) -> float:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(said)
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    assert found is not None, said
    return float(found[1])


def _memory(process: int, url: str, requests: int) -> list[tuple[int, float]]:
    """Resident megabytes of the server and its workers at four times during some number of requests."""
    found: list[tuple[int, float]] = []
    done = 0
    while not found or done < requests:
        if done >= len(found) * requests / 4:
            found.append((done, sum(_resident(number) for number in [process, *_children(process)])))
        done += round(_load(url, 2) * 2)
    return [*found, (done, sum(_resident(number) for number in [process, *_children(process)]))]


def _resident(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+([0-9]+) kB", status)
    assert found is not None
    return int(found[1]) / 1000


def _children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@contextmanager
def _server(folder: Path, workers: int) -> Iterator[tuple[str, int]]:
    data, port = folder / "data", _free_port()
    for arguments in (["account", "add", "acme"], ["token", "issue", "acme", "--scope", "write"]):
        command = [_PATCHPM, "registry", *arguments, "--data", str(data)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (folder / "token").write_text(said.strip())
    command = [_PATCHPM, "registry", "serve", "--data", str(data), "--port", str(port), "--workers", str(workers)]
    with (folder / "log").open("wb") as log, _process(command, log.fileno()) as number:
        _wait(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}", number


@contextmanager
def _nginx(folder: Path) -> Iterator[str]:
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "small").write_bytes(SMALL)
    (folder / "files" / "large").write_bytes(LARGE)
    port = _free_port()
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        + ("user root;\n" if os.getuid() == 0 else "")
        + f"events {{}}\nhttp {{ access_log {folder}/access.log; sendfile on; keepalive_requests 1000000;\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}/files; }} }}\n"
    )
    with _process(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], subprocess.DEVNULL):
        _wait(f"http://127.0.0.1:{port}/small")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _process(command: list[str], errors: int) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str) -> None:
    for _ in range(200):
        try:
            if urllib3.request("GET", url, retries=False, timeout=5).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def _fill(endpoint: str, token: str) -> str:
    """Publish both files; returns the commit."""
    headers = {"Authorization": f"Bearer {token}"}
    repo = f"{endpoint}/api/models/acme/patch"
    files = [
        {"key": "file", "value": {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}}
        for path, data in (("small", SMALL), ("large", LARGE))
    ]
    lines = [{"key": "header", "value": {"summary": "Release", "description": ""}}, *files]
    _post(f"{endpoint}/api/repos/create", {"name": "patch"}, headers)
    body = "\n".join(json.dumps(line) for line in lines).encode()
    made = _HTTP.request("POST", f"{repo}/commit/main", body=body, headers=headers).json()
    _post(f"{repo}/tag/main", {"tag": "v1.0.0"}, headers)
    return str(made["commitOid"])


def _post(url: str, body: dict[str, str], headers: dict[str, str]) -> None:
    answer = _HTTP.request("POST", url, body=json.dumps(body).encode(), headers=headers)
    assert answer.status == 200, answer.data


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


if __name__ == "__main__":
    main()
