"""A gateway over HTTP on loopback, with tiny patches, in front of engines that the tests steer."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import urllib3
from uvicorn import Config

from patchpm.gateway.app import build_app
from patchpm.gateway.engine_template import engine_template
from patchpm.gateway.injection import EmbedsInjection, Injection
from patchpm.gateway.prompt_count import PromptCounter
from patchpm.gateway.roster import EVERYBODY, Roster, Tenant, hash_of_key
from patchpm.gateway.serving import Options, opening
from patchpm.gateway.site import Site
from patchpm.json_log import GATEWAY_LOG
from patchpm.model.loaded import LoadedPatch, PatchSet
from tests.gateway.engine import Engine
from tests.loopback import Loopback
from tests.model import tiny

HTTP = urllib3.PoolManager(maxsize=32, retries=False, timeout=60)
BASE = f"sha256:{'7' * 64}"
"""Stands for the digest of the tiny base."""
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "What is the capital of France?"}]


@cache
def counter(template: str = tiny.CHATML) -> PromptCounter:
    """The counter of the tiny base."""
    return PromptCounter(tiny.tokenizer(template))


@cache
def patch(name: str, *, tokens: int = 5, separator: str = "") -> LoadedPatch:
    """A patch of random rows for the tiny base."""
    model = _model()
    return tiny.patch(
        tiny.base_of(model, tiny.tokenizer()), name, tokens=tokens, seed=sum(name.encode()), separator=separator
    )


@cache
def _model() -> Any:
    return tiny.llama()


def patches(*members: LoadedPatch) -> PatchSet:
    return PatchSet("system-start", members)


def injection(*members: LoadedPatch, template: str = tiny.CHATML) -> Injection:
    return EmbedsInjection.of(patches(*members), counter(template))


def everybody(*members: LoadedPatch, template: str = tiny.CHATML) -> Roster:
    """One set for everybody."""
    return Roster(BASE, Tenant(EVERYBODY, injection(*members, template=template)), {})


def tenants(sets: Mapping[str, tuple[LoadedPatch, ...]]) -> Roster:
    """Tenants by name; the key of each is `key-of-NAME`."""
    made = {name: Tenant(name, injection(*members)) for name, members in sets.items()}
    return Roster(BASE, None, {hash_of_key(f"key-of-{name}"): tenant for name, tenant in made.items()})


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    data: bytes

    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def error(self) -> str:
        """Code of the error; it must be in OpenAI's shape."""
        found = self.json()["error"]
        assert {"message", "type", "param", "code"} == found.keys(), found
        return str(found["code"])

    @property
    def events(self) -> list[Any]:
        """What a stream said; `[DONE]` as None."""
        found = [line.removeprefix("data: ") for line in self.data.decode().split("\n\n") if line]
        return [None if text == "[DONE]" else json.loads(text) for text in found]


@dataclass
class Gateway:
    """A gateway that is running."""

    url: str
    engines: list[Engine]
    site: Site | None = None
    loop: asyncio.AbstractEventLoop | None = None
    records: list[logging.LogRecord] = field(default_factory=list)

    @property
    def engine(self) -> Engine:
        """The first engine."""
        return self.engines[0]

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Answer:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            named.setdefault("Content-Type", "application/json")
        if key is not None:
            named["Authorization"] = f"Bearer {key}"
        found = HTTP.request(method, self.url + path, body=data, headers=named, redirect=False)
        return Answer(found.status, {name.lower(): value for name, value in found.headers.items()}, found.data)

    def chat(self, messages: list[dict[str, Any]] | None = None, *, key: str | None = None, **fields: Any) -> Answer:
        body = {"model": "base", "messages": HELLO if messages is None else messages, **fields}
        return self.call("POST", "/v1/chat/completions", body, key=key)

    def get(self, path: str, *, key: str | None = None) -> Answer:
        return self.call("GET", path, key=key)

    def metric(self, line: str) -> float:
        """The value of one line of `/metrics`."""
        text = self.get("/metrics").data.decode()
        return next((float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line + " ")), 0.0)

    def reload(self) -> None:
        assert self.site is not None
        assert self.loop is not None
        asyncio.run_coroutine_threadsafe(self.site.roster.reload(), self.loop).result(30)

    def wait_for(self, true: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not come to pass"
            time.sleep(0.01)


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@contextmanager
def served(app: Any) -> Iterator[str]:
    """An ASGI application at an address."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.bind(("127.0.0.1", 0))
    opened.listen(256)
    server = Loopback(Config(app, log_config=None, access_log=False, http="h11"), grace=0.5)
    with server.running(opened):
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"


@contextmanager
def running(
    roster: Roster | Callable[[], Roster], *engines: Engine, wait: bool = True, **options: Any
) -> Iterator[Gateway]:
    """A gateway in front of engines; by default one that has the template it needs.

    Args:
        roster: What is served, or what loads it, at every reload.
        engines: Each is served as well.
        wait: Whether to wait until the engines are ready.
        options: Of `patchpm.gateway.serving.Options`.
    """
    with ExitStack() as stack:
        all_engines = list(engines) or [Engine(engine_template(tiny.tokenizer()))]
        for engine in all_engines:
            engine.url = stack.enter_context(served(engine.app()))
        gateway = stack.enter_context(running_before(roster, [engine.url for engine in all_engines], **options))
        gateway.engines = all_engines
        site = gateway.site
        assert site is not None
        if wait:
            gateway.wait_for(lambda: len(site.upstreams.ready) == len(all_engines))
        yield gateway


@contextmanager
def running_before(roster: Roster | Callable[[], Roster], urls: Sequence[str], **options: Any) -> Iterator[Gateway]:
    """A gateway in front of engines that run already; see `running`."""
    load: Callable[[], Roster] = (lambda: roster) if isinstance(roster, Roster) else roster
    with ExitStack() as stack:
        gateway = Gateway("", [])
        handler = _Kept(gateway.records)
        GATEWAY_LOG.addHandler(handler)
        stack.callback(GATEWAY_LOG.removeHandler, handler)
        GATEWAY_LOG.setLevel("INFO")

        @asynccontextmanager
        async def seen(site: Site) -> AsyncIterator[None]:
            gateway.site, gateway.loop = site, asyncio.get_running_loop()
            yield

        opened = opening(Options(tuple(urls), running=seen, **options), load, load())
        gateway.url = stack.enter_context(served(build_app(opened)))
        gateway.wait_for(lambda: gateway.site is not None)
        yield gateway
