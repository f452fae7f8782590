"""What a gateway adds: time to the first word and to the last, whether tenants stay apart, and engines killed at work.

The engine is a small server that says a word every 20 ms and counts as an engine must, so that nothing but the gateway
is seen; `--engine URL` measures one that runs instead, a vLLM started as `patchpm serve --write-template` says.
Direct requests, which bring the embeddings of the same patches, and those through the gateway take turns, and
streams of one round begin at random moments of it.
The project must be locked and installed.

    python benchmarks/gateway.py latency --project DIR [--streams 1 16 64] [--rounds 5] [--engine URL --model NAME]
    python benchmarks/gateway.py tenants --project DIR --project DIR [--requests 10000]
    python benchmarks/gateway.py killed --project DIR [--streams 32]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp
from aiohttp import web

from patchpm.cli.served_roster import of_project
from patchpm.gateway.injection import EmbedsInjection

CHAT = "/v1/chat/completions"
WORDS, PAUSE = 20, 0.02
HELLO = [{"role": "user", "content": "What is the capital of France?"}]


def engine(port: int, counts: dict[str, int]) -> None:
    """Run the small engine.

    Args:
        port: To listen at.
        counts: Prompt tokens of the one conversation that is asked, by the hash of the embeddings in it.
    """
    word = b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" word"}}]}\n\n'

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        parts = [part for message in body["messages"] for part in message["content"] if isinstance(part, dict)]
        data = "".join(part["data"] for part in parts if part["type"] == "prompt_embeds")
        seen = hashlib.sha256(data.encode()).hexdigest()
        usage = {"prompt_tokens": counts.get(seen, 0)}
        if body.get("max_tokens") == 1:
            return web.json_response({"usage": {"prompt_tokens": counts.get(str(body["messages"])[-30:], 0)}})
        if not body.get("stream"):
            return web.json_response({"choices": [], "usage": usage, "seen": seen})
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        for _ in range(WORDS):
            await answer.write(word)
            await asyncio.sleep(PAUSE)
        if (body.get("stream_options") or {}).get("include_usage"):
            await answer.write(b"data: " + json.dumps({"choices": [], "usage": usage, "seen": seen}).encode() + b"\n\n")
        await answer.write(b"data: [DONE]\n\n")
        return answer

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "m", "parent": None}]})

    async def health(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes([web.post(CHAT, chat), web.get("/v1/models", models), web.get("/health", health)])
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def hash_of(injection: Any) -> str:
    """What the small engine recognises a set by."""
    return hashlib.sha256(b"".join(part for part in injection.parts if isinstance(part, bytes))).hexdigest()


def injection_of(project: Path) -> EmbedsInjection:
    """How the locked set of a project goes into requests."""
    tenant = of_project(project, None).load().open_to
    assert tenant is not None
    assert isinstance(tenant.injection, EmbedsInjection)
    return tenant.injection


def counts_of(projects: Sequence[Path]) -> tuple[dict[str, int], list[str]]:
    """What the small engine must count, and the hash of each project's embeddings; the last is that of none."""
    counts: dict[str, int] = {}
    hashes = []
    none = None
    for found in map(injection_of, projects):
        none = none or EmbedsInjection.of(type(found.patches)(found.patches.anchor, ()), found.counter)
        hashes.append(hash_of(found))
        counts[hashes[-1]] = found.expected({"messages": HELLO}) or 0
    assert none is not None
    hashes.append(hash_of(none))
    counts[hashes[-1]] = none.expected({"messages": HELLO}) or 0
    return counts, hashes


@contextmanager
def process(*command: str, ready: str, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process, once its log says that it is ready; yields the process and what the pattern found."""
    with log.open("wb") as opened:
        popen = subprocess.Popen([sys.executable, *command], stdout=opened, stderr=opened, env=os.environ)
    try:
        while popen.poll() is None and re.search(ready, log.read_text()) is None:
            time.sleep(0.05)
        found = re.search(ready, log.read_text())
        if found is None:
            raise SystemExit(log.read_text())
        yield popen, found[found.lastindex or 0]
    finally:
        popen.kill()
        popen.wait()


@contextmanager
def engines(number: int, counts: dict[str, int], folder: Path) -> Iterator[list[tuple[subprocess.Popen[bytes], str]]]:
    """Small engines, each a process."""
    file = folder / "counts.json"
    file.write_text(json.dumps(counts))
    made = []
    for _ in range(number):
        port = free_port()
        popen = subprocess.Popen([sys.executable, __file__, "engine", "--port", str(port), "--counts", str(file)])
        made.append((popen, f"http://127.0.0.1:{port}"))
    try:
        for popen, url in made:
            wait_for(popen, url)
        yield made
    finally:
        for popen, _ in made:
            popen.kill()
            popen.wait()


def wait_for(popen: subprocess.Popen[bytes], url: str) -> None:
    address = url.removeprefix("http://").split(":")
    while popen.poll() is None:
        try:
            socket.create_connection((address[0], int(address[1]))).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("an engine did not start")


@contextmanager
def gateway(folder: Path, *arguments: str) -> Iterator[tuple[int, str]]:
    """`patchpm serve`, once an engine is ready; yields its process and its address."""
    port = str(free_port())
    with process(
        *("-m", "patchpm", "serve", "--port", port, "--on-mismatch", "alarm", *arguments),
        ready="engine ready",
        log=folder / "gateway.log",
    ) as (popen, _):
        yield popen.pid, f"http://127.0.0.1:{port}"


def chat_of(model: str) -> dict[str, Any]:
    """The request that is timed."""
    return {
        "model": model,
        "messages": HELLO,
        "stream": True,
        "max_tokens": WORDS,
        "temperature": 0,
        "ignore_eos": True,
    }


async def stream(
    client: aiohttp.ClientSession, url: str, body: bytes, *, within: float = 0, begun: list[float] | None = None
) -> tuple[float, float, bytes]:
    """One streamed chat, begun `within` seconds: seconds to the first word and to the end, and all that was said.

    The time of the first word is put into `begun` at once.
    """
    await asyncio.sleep(random.uniform(0, within))
    began = time.perf_counter()
    first = 0.0
    said = b""
    async with client.post(url + CHAT, data=body, headers={"content-type": "application/json"}) as answer:
        async for data in answer.content.iter_any():
            if not first:
                first = time.perf_counter() - began
                if begun is not None:
                    begun.append(first)
            said += data
    return first, time.perf_counter() - began, said


async def latency(
    direct: str, through: str, pid: int, streams: Sequence[int], rounds: int, model: str, injection: EmbedsInjection
) -> None:
    """Direct and through the gateway in turns, with so many streams at once; `pid` is the gateway."""
    chat = chat_of(model)
    bodies = {direct: injection.body(injection.prepared(chat)), through: json.dumps(chat).encode()}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as client:
        for count in streams:
            seen: dict[str, list[tuple[float, float, bytes]]] = {direct: [], through: []}
            busy = 0.0
            for number in range(-1, rounds):
                if number == 0:
                    busy = cpu_seconds(pid)
                for url in (direct, through):
                    batch = await asyncio.gather(
                        *(stream(client, url, bodies[url], within=WORDS * PAUSE * (count > 1)) for _ in range(count))
                    )
                    if number >= 0:
                        seen[url] += batch
            assert all(said.endswith(b"data: [DONE]\n\n") for batch in seen.values() for _, _, said in batch)
            spent = (cpu_seconds(pid) - busy) / len(seen[through]) * 1000
            for index, what in enumerate(("first word", "whole answer")):
                print(json.dumps(row(what, count, index, seen, direct, through)))
            print(json.dumps({"what": "CPU ms an answer", "streams": count, "gateway": round(spent, 2)}), flush=True)


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row(
    what: str, count: int, index: int, seen: dict[str, list[tuple[float, float, bytes]]], direct: str, through: str
) -> dict[str, Any]:
    """Milliseconds."""
    figures = {}
    for name, url in (("direct", direct), ("gateway", through)):
        times = [(first, whole)[index] * 1000 for first, whole, _ in seen[url]]
        figures[name] = {"p50": median(times), "p99": quantiles(times, n=100)[98] if len(times) > 1 else times[0]}
    added = {key: round(figures["gateway"][key] - figures["direct"][key], 2) for key in ("p50", "p99")}
    rounded = {name: {key: round(value, 2) for key, value in pair.items()} for name, pair in figures.items()}
    return {"what": what, "streams": count, "answers": len(seen[direct]), **rounded, "added": added}


async def mixed(url: str, keys: dict[str, str], requests: int) -> Counter[str]:
    """Requests of all tenants, mixed: whose embeddings the engine saw, and whose it should have."""
    order = [key for key in keys for _ in range(requests // len(keys) + 1)][:requests]
    random.Random(1).shuffle(order)
    said: Counter[str] = Counter()
    sets: dict[str, set[str]] = {key: set() for key in keys}
    queue = iter(order)

    async def worker(client: aiohttp.ClientSession) -> None:
        for key in queue:
            body = {"model": "m", "messages": HELLO}
            async with client.post(url + CHAT, json=body, headers={"authorization": f"Bearer {key}"}) as answer:
                found = await answer.json()
                sets[key].add(answer.headers["x-patchpm-set"])
            said["right" if found["seen"] == keys[key] else "wrong"] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(worker(client) for _ in range(32)))
    assert all(len(found) == 1 for found in sets.values())
    assert len(set.union(*sets.values())) == len(keys)
    return said


async def killed(url: str, victim: subprocess.Popen[bytes], streams: int) -> Counter[str]:
    """Streams over two engines, one of which is killed in the middle: how they end, and those that come after."""
    ends: Counter[str] = Counter()
    begun: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        ready = b""
        while ready.count(b"engine_ready{") != 2 or ready.count(b'"} 1.0') < 2:
            async with client.get(url + "/metrics") as answer:
                page = await answer.read()
                ready = b"\n".join(
                    line for line in page.splitlines() if line.startswith(b"patchpm_gateway_engine_ready")
                )
        body = json.dumps(chat_of("m")).encode()
        waiting = [asyncio.ensure_future(stream(client, url, body, begun=begun)) for _ in range(streams)]
        while len(begun) < streams:
            await asyncio.sleep(PAUSE)
        victim.kill()
        after = [asyncio.ensure_future(stream(client, url, body)) for _ in range(streams)]
        for when, batch in (("running", waiting), ("after", after)):
            for one in batch:
                try:
                    _, _, said = await one
                except aiohttp.ClientError as error:
                    ends[f"{when}: {type(error).__name__}"] += 1
                    continue
                last = said.rstrip().rpartition(b"data: ")[2]
                clean = b"engine_failed" in last
                ends[f"{when}: " + ("whole" if last == b"[DONE]" else "clean error" if clean else "cut")] += 1
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("latency", "tenants", "killed", "engine"))
    parser.add_argument("--project", type=Path, action="append", default=[])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--engine")
    parser.add_argument("--model", default="m")
    parser.add_argument("--port", type=int)
    parser.add_argument("--counts", type=Path)
    options = parser.parse_args()
    if options.what == "engine":
        engine(options.port, json.loads(options.counts.read_text()))
        return
    projects = [path.absolute() for path in options.project]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        counts, hashes = counts_of(projects)
        number = 2 if options.what == "killed" else 0 if options.engine else 1
        made = stack.enter_context(engines(number, counts, folder))
        urls = [options.engine] if options.engine else [url for _, url in made]
        upstreams = [word for url in urls for word in ("--upstream", url)]
        if options.what == "tenants":
            keys = {f"key-{index}-0123456789abcdef": found for index, found in enumerate(hashes)}
            file = folder / "tenants.toml"
            file.write_text(
                "".join(
                    f'[[tenant]]\nname = "t{index}"\nkeys = ["sha256:{hashlib.sha256(key.encode()).hexdigest()}"]\n'
                    + (f'project = "{projects[index]}"\n' if index < len(projects) else "patches = false\n")
                    for index, key in enumerate(keys)
                )
            )
            _, url = stack.enter_context(gateway(folder, "--tenants", str(file), *upstreams))
            began = time.perf_counter()
            found = asyncio.run(mixed(url, keys, options.requests))
            print(json.dumps({**found, "tenants": len(keys), "seconds": round(time.perf_counter() - began, 1)}))
            return
        pid, url = stack.enter_context(gateway(folder, "--project", str(projects[0]), *upstreams))
        if options.what == "killed":
            print(json.dumps(asyncio.run(killed(url, made[0][0], options.streams[0]))))
        else:
            same = injection_of(projects[0])
            asyncio.run(latency(urls[0], url, pid, options.streams, options.rounds, options.model, same))


if __name__ == "__main__":
    main()
