"""A gateway with an engine of its own: a new set takes over without a request lost, a bad one changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import urllib3

from patchpm.errors import CannotError
from patchpm.gateway.app import build_app
from patchpm.gateway.engine import Engine
from patchpm.gateway.own_engine import WithOwnEngine
from patchpm.gateway.roster import EVERYBODY, Roster, Tenant
from patchpm.gateway.serving import Options, opening
from patchpm.gateway.site import Site
from patchpm.model.loaded import PatchSet
from tests.gateway.builders import Answer, Gateway, patch, patches, served
from tests.gateway.test_engine import stub

pytestmark = pytest.mark.slow

FIRST, SECOND = patches(patch("acme/a")), patches(patch("acme/a"), patch("acme/b"))
BROKEN = patches(patch("acme/broken", tokens=7))


@dataclass(frozen=True)
class Words:
    """An injection for the engine without a model, whose prompts have a token for each word."""

    patches: PatchSet

    def prepared(self, request: dict[str, Any]) -> dict[str, Any]:
        return dict(request)

    def body(self, request: Mapping[str, Any]) -> bytes:
        return json.dumps(request).encode()

    def expected(self, request: Mapping[str, Any]) -> int | None:
        return self.patches.tokens + len(request["messages"][-1]["content"].split())


@dataclass
class Project:
    """A project whose lock says one set after another."""

    folder: Path
    now: PatchSet = FIRST
    more: tuple[str, ...] = ()
    exports: list[str] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)
    base: str = "sha256:tiny"

    def load(self) -> Roster:
        return Roster(self.base, Tenant(EVERYBODY, Words(self.now)), {})

    def export(self, found: PatchSet) -> Path:
        path = self.folder / ("broken" if found is BROKEN else found.digest.hex)
        path.write_text(str(found.tokens))
        self.exports.append(str(found.digest))
        return path

    async def start(self, model: Path) -> Engine:
        engine = await Engine.start(stub(*self.more), model, "tiny", grace=5)
        self.engines.append(engine)
        return engine


@contextmanager
def serving(project: Project) -> Iterator[Gateway]:
    """The gateway of a project, over HTTP."""
    gateway = Gateway("", [])
    inner = WithOwnEngine(project.export, project.start)

    @asynccontextmanager
    async def running(site: Site) -> AsyncIterator[None]:
        async with inner(site):
            gateway.site, gateway.loop = site, asyncio.get_running_loop()
            yield

    opened = opening(Options((), running=running), project.load, project.load())
    with served(build_app(opened)) as gateway.url:
        gateway.wait_for(lambda: gateway.site is not None, 60)
        yield gateway


def dead(url: str) -> bool:
    """Whether nothing listens there."""
    with suppress(urllib3.exceptions.HTTPError):
        urllib3.request("GET", url, retries=False)
        return False
    return True


@pytest.mark.usefixtures("impatient")
def test_a_reload_brings_up_an_engine_with_the_new_set_and_ends_the_old_one(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with serving(project) as gateway:
        assert gateway.chat().headers["x-patchpm-tokens"] == "5"
        project.now = SECOND
        gateway.reload()
        answer = gateway.chat()
        assert answer.status == 200
        assert answer.headers["x-patchpm-set"] == str(SECOND.digest)
        old, new = (engine.url for engine in project.engines)
        gateway.wait_for(lambda: dead(old), 30)
        assert not dead(new)
    assert dead(new)


def test_no_request_is_dropped_while_engines_change(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with serving(project) as gateway, ThreadPoolExecutor(4) as pool:
        done = Event()

        def ask(stream: bool) -> list[Answer]:
            answers = []
            while not done.is_set():
                answers.append(gateway.chat(stream=stream))
            return answers

        asking = [pool.submit(ask, bool(number % 2)) for number in range(4)]
        for now in (SECOND, FIRST, SECOND):
            project.now = now
            gateway.reload()
        done.set()
        answers = [answer for one in asking for answer in one.result()]
        assert {answer.status for answer in answers} == {200}
        assert not any(b'"error"' in answer.data for answer in answers)
        assert len({answer.headers["x-patchpm-set"] for answer in answers}) == 2, "all went to one engine"
        assert gateway.metric('patchpm_gateway_count_checks_total{result="right"}') == len(answers)


def test_a_stream_of_the_old_engine_ends_there_after_the_switch(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with serving(project) as gateway, ThreadPoolExecutor(1) as pool:
        stream = pool.submit(gateway.chat, stream=True)
        site = gateway.site
        assert site is not None
        gateway.wait_for(lambda: any(upstream.in_flight for upstream in site.upstreams.all))
        project.now = SECOND
        gateway.reload()
        old = stream.result()
        assert old.headers["x-patchpm-set"] == str(FIRST.digest)
        assert old.events[-1] is None


def test_the_same_set_again_starts_no_engine(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with serving(project) as gateway:
        gateway.reload()
        assert len(project.engines) == len(project.exports) == 1


def test_a_set_whose_engine_does_not_start_leaves_the_old_one_serving(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with serving(project) as gateway:
        project.now = BROKEN
        gateway.reload()
        answer = gateway.chat()
        assert (answer.status, answer.headers["x-patchpm-set"]) == (200, str(FIRST.digest))
        assert gateway.metric('patchpm_gateway_reloads_total{result="refused"}') == 1
        project.now = SECOND
        gateway.reload()
        assert gateway.chat().headers["x-patchpm-set"] == str(SECOND.digest)


def test_an_engine_that_forgets_the_patches_is_never_switched_to(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with serving(project) as gateway:
        project.now, project.more = SECOND, ("--strips",)
        gateway.reload()
        assert gateway.chat().headers["x-patchpm-set"] == str(FIRST.digest)
        assert dead(project.engines[-1].url)
        assert gateway.site is not None
        assert (gateway.site.roster.refused or "").startswith("engine-not-proven")


def test_a_lock_for_another_base_is_refused(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with serving(project) as gateway:
        project.now, project.base = SECOND, "sha256:other"
        gateway.reload()
        assert gateway.chat().headers["x-patchpm-set"] == str(FIRST.digest)
        assert gateway.site is not None
        assert (gateway.site.roster.refused or "").startswith("base-changed")


@pytest.mark.parametrize("model", ["is there", "was deleted"])
def test_an_engine_that_dies_is_started_again(tmp_path: Path, model: str) -> None:
    project = Project(tmp_path)
    with serving(project) as gateway:
        if model == "was deleted":
            (tmp_path / FIRST.digest.hex).unlink()
        with pytest.raises(urllib3.exceptions.HTTPError):
            urllib3.request("GET", f"{project.engines[0].url}/crash", retries=False)
        gateway.wait_for(lambda: len(project.engines) == 2 and gateway.chat().status == 200, seconds=60)


def test_a_first_engine_that_does_not_start_ends_the_server(tmp_path: Path) -> None:
    project = Project(tmp_path, now=BROKEN)
    opened = opening(Options((), running=WithOwnEngine(project.export, project.start)), project.load, project.load())

    async def told() -> None:
        async with opened():
            pass

    with pytest.raises(CannotError, match="engine-died"):
        asyncio.run(told())
