"""A new patch set takes over from the old one without a request lost, and a bad one leaves the old one serving."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import urllib3

from patchpm.errors import CannotError, StaleLockError
from patchpm.gateway.engine import Engine
from patchpm.gateway.rollout import PreparedModel, Rollout, changes
from patchpm.patch.digest import Digest
from tests.gateway.test_engine import stub


class Front:
    """A front that notes what it is told, and holds requests as long as a test wants."""

    def __init__(self) -> None:
        self.url = ""
        self.model = Path()
        self.busy: dict[str, asyncio.Event] = {}

    async def switch(self, url: str, model: PreparedModel) -> None:
        self.url, self.model = url, model.path

    async def drained(self, url: str) -> None:
        if url in self.busy:
            await self.busy[url].wait()

    async def ask(self) -> str:
        """What the engine that requests go to says it serves."""
        answer = await asyncio.to_thread(urllib3.request, "GET", self.url)
        return str(answer.json()["model"])


class Project:
    """A project whose lock says one set after another."""

    def __init__(self) -> None:
        self.front = Front()
        self.names = ["first"]
        self.more: tuple[str, ...] = ()
        self.rollout = Rollout(self.prepare, self.start, self.front)

    def prepare(self) -> PreparedModel:
        name = self.names[-1]
        if name == "stale":
            raise StaleLockError("stale-lock", "the lock is stale")
        return PreparedModel(Path(name), Digest.of(name.encode()))

    async def start(self, model: PreparedModel) -> Engine:
        more = ("--fail",) if str(model.path) == "broken" else ()
        return await Engine.start(stub(*more), model.path, "name")


def story(tell: Callable[[Project], Awaitable[None]]) -> None:
    """Serve the first set, and go on from there."""

    async def told() -> None:
        project = Project()
        try:
            assert await project.rollout.update()
            await tell(project)
        finally:
            for event in project.front.busy.values():
                event.set()
            await project.rollout.close()

    asyncio.run(told())


def test_a_new_lock_is_served_by_a_new_engine_and_the_old_one_is_stopped() -> None:
    async def tell(project: Project) -> None:
        old = project.front.url
        project.names.append("second")
        assert await project.rollout.update()
        assert await project.front.ask() == "second"
        while True:
            with suppress(urllib3.exceptions.HTTPError):
                await asyncio.to_thread(urllib3.request, "GET", old, retries=False)
                await asyncio.sleep(0.02)
                continue
            break

    story(tell)


def test_the_old_engine_lives_until_its_last_request_is_answered() -> None:
    async def tell(project: Project) -> None:
        old = project.front.url
        project.front.busy[old] = asyncio.Event()
        project.names.append("second")
        await project.rollout.update()
        await asyncio.sleep(0.3)
        assert (await asyncio.to_thread(urllib3.request, "GET", old)).json() == {"model": "first"}
        project.front.busy[old].set()

    story(tell)


def test_the_same_lock_again_starts_nothing() -> None:
    async def tell(project: Project) -> None:
        before = project.front.url
        assert not await project.rollout.update()
        assert project.front.url == before

    story(tell)


@pytest.mark.parametrize("bad", ["stale", "broken"])
def test_a_lock_that_cannot_be_served_leaves_the_old_set_serving(bad: str) -> None:
    async def tell(project: Project) -> None:
        project.names.append(bad)
        await project.rollout.try_update()
        assert await project.front.ask() == "first"
        assert project.rollout.model == PreparedModel(Path("first"), Digest.of(b"first"))
        project.names.append("third")
        assert await project.rollout.update()
        assert await project.front.ask() == "third"

    story(tell)


def test_two_updates_at_once_come_one_after_the_other() -> None:
    async def tell(project: Project) -> None:
        project.names.append("second")
        assert sorted(await asyncio.gather(project.rollout.update(), project.rollout.update())) == [False, True]

    story(tell)


def test_an_engine_that_dies_by_itself_is_told_and_a_replaced_one_is_not() -> None:
    async def tell(project: Project) -> None:
        watching = asyncio.create_task(project.rollout.died())
        project.names.append("second")
        await project.rollout.update()
        await asyncio.sleep(0.5)
        assert not watching.done()
        with pytest.raises(urllib3.exceptions.HTTPError):
            await asyncio.to_thread(urllib3.request, "GET", f"{project.front.url}/crash", retries=False)
        with pytest.raises(CannotError, match="exit code 7"):
            await asyncio.wait_for(watching, 10)

    story(tell)


def test_a_lock_that_is_written_or_replaced_is_noticed_once(tmp_path: Path) -> None:
    lock = tmp_path / "patchpm.lock"
    lock.write_text("one")

    async def told() -> None:
        seen = changes(lock, every=0.01)
        for text in ("two!", "three!"):
            coming = asyncio.ensure_future(anext(seen))
            await asyncio.sleep(0.05)
            assert not coming.done()
            other = tmp_path / "other"
            other.write_text(text)
            lock.unlink()
            await asyncio.sleep(0.05)
            assert not coming.done(), "a lock that is gone says nothing"
            other.rename(lock)
            await asyncio.wait_for(coming, 5)

    asyncio.run(told())
