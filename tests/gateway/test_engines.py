"""Several engines behind one gateway: who gets a request, and what happens when one dies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from patchpm.gateway.engine_template import engine_template
from patchpm.gateway.site import Limits
from patchpm.gateway.upstreams import Upstream, Upstreams
from tests.gateway.builders import Gateway, everybody, patch, running, running_before, served
from tests.gateway.engine import Engine
from tests.gateway.hanging_up import hanging_up
from tests.model import tiny


def engine(**fields: Any) -> Engine:
    made = Engine(engine_template(tiny.tokenizer()))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def at_once(gateway: Gateway, count: int, **fields: Any) -> list[int]:
    with ThreadPoolExecutor(count) as pool:
        return [answer.status for answer in pool.map(lambda _: gateway.chat(**fields), range(count))]


def test_requests_go_to_the_engine_that_has_the_least_to_do() -> None:
    slow, fast = engine(), engine()
    with running(everybody(patch("acme/a")), slow, fast) as gateway:
        assert gateway.chat().status == gateway.chat().status == 200
        assert (len(slow.chats), len(fast.chats)) == (1, 1)
        slow.pause = 60
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(gateway.chat)
            gateway.wait_for(lambda: len(slow.chats) + len(fast.chats) == 3)
            busy = len(slow.chats) == 2
            assert gateway.chat().status == gateway.chat().status == 200
            slow.pause = 0
            assert waiting.result().status == 200
        assert busy
        assert (len(slow.chats), len(fast.chats)) == (2, 3)


def test_an_engine_that_cannot_be_reached_costs_no_request() -> None:
    with running(everybody(patch("acme/a")), engine(), engine()) as gateway:
        site, loop = gateway.site, gateway.loop
        assert site is not None
        assert loop is not None
        with served(engine().app()) as gone:
            loop.call_soon_threadsafe(site.upstreams.swap, [gone, *(one.url for one in gateway.engines)])
            gateway.wait_for(lambda: len(site.upstreams.ready) == 3)
        assert at_once(gateway, 6) == [200] * 6
        assert gateway.metric("patchpm_gateway_retries_total") >= 1


@contextmanager
def before_one_that_hangs_up(chats: set[int]) -> Iterator[Gateway]:
    """A gateway with one engine, which gives no answer to these chats."""
    one = engine()
    with (
        served(one.app()) as url,
        hanging_up(url, chats) as before,
        running_before(everybody(patch("acme/a")), [before]) as gateway,
    ):
        gateway.engines = [one]
        gateway.wait_for(lambda: gateway.get("/health").status == 200)
        yield gateway


def test_a_connection_that_the_engine_closed_meanwhile_costs_no_request_and_no_engine() -> None:
    with before_one_that_hangs_up({1, 3}) as gateway:
        assert [gateway.chat().status for _ in range(3)] == [200] * 3
        assert not [record for record in gateway.records if record.msg == "engine lost"]


def test_an_engine_that_hangs_up_twice_gets_no_third_try() -> None:
    with before_one_that_hangs_up({1, 2}) as gateway:
        assert (gateway.chat().error, len(gateway.engine.chats)) == ("engine_failed", 0)
        gateway.wait_for(lambda: gateway.get("/health").status == 200)
        assert gateway.chat().status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_takes_too_long_ends_and_its_engine_goes_on(stream: bool) -> None:
    with running(everybody(patch("acme/a")), engine(), limits=Limits(engine=0.2)) as gateway:
        gateway.engine.pause = 60
        answer = gateway.chat(stream=stream)
        if stream:
            assert (answer.status, answer.events[-1]["error"]["code"]) == (200, "engine_silent")
        else:
            assert (answer.status, answer.error) == (504, "engine_silent")
        gateway.engine.pause = 0
        assert gateway.chat().status == 200
        assert not [record for record in gateway.records if record.msg == "engine lost"]


def test_an_engine_that_leaves_a_request_without_an_answer_is_asked_something_itself() -> None:
    with running(everybody(patch("acme/a")), engine(), limits=Limits(engine=0.5)) as gateway:
        site = gateway.site
        assert site is not None
        gateway.engine.pause = 2
        probes = len(gateway.engine.bodies)
        assert gateway.chat().error == "engine_silent"
        gateway.engine.fails = (500, {"error": {"message": "it hangs", "type": "x", "code": 500}})
        gateway.wait_for(lambda: not site.upstreams.ready)
        assert len(gateway.engine.bodies) > probes + 1


def test_an_engine_whose_list_of_models_has_no_end_gets_no_requests() -> None:
    endless = engine(models=({"id": "base", "parent": None, "filling": "x" * 5_000_000},))
    with running(everybody(patch("acme/a")), endless, wait=False) as gateway:
        gateway.wait_for(lambda: any("larger than" in str(vars(record)) for record in gateway.records))
        assert gateway.chat().error == "no_engine"


def test_an_engine_lost_while_it_is_looked_at_is_looked_at_again_before_it_serves() -> None:
    looks: list[asyncio.Event] = []

    async def check(upstream: Upstream) -> None:
        looks.append(asyncio.Event())
        await looks[-1].wait()

    async def look_lose_and_look_again() -> None:
        upstreams = Upstreams(check)
        upstreams.swap(["http://127.0.0.1:1"])
        await asyncio.sleep(0.01)
        upstreams.failed(upstreams.all[0], "its connection broke")
        looks[0].set()
        await asyncio.sleep(0.01)
        assert not upstreams.ready
        async with asyncio.timeout(10):
            while len(looks) < 2:
                await asyncio.sleep(0.01)
            looks[1].set()
            while not upstreams.ready:
                await asyncio.sleep(0.01)
        await upstreams.close()

    asyncio.run(look_lose_and_look_again())


def test_a_request_that_an_engine_dies_of_kills_at_most_one_more() -> None:
    dying = [engine(dies_after=0) for _ in range(3)]
    with running(everybody(patch("acme/a")), *dying) as gateway:
        answer = gateway.chat()
        assert (answer.status, answer.error) == (502, "engine_failed")
        assert sorted(len(one.chats) for one in dying) == [0, 1, 1]


def test_an_engine_killed_in_the_middle_of_a_stream_ends_it_with_an_error_and_the_others_go_on() -> None:
    dying, living = engine(), engine()
    with running(everybody(patch("acme/a")), dying, living) as gateway:
        dying.dies_after = 2
        found = [gateway.chat(stream=True).events for _ in range(2)]
        broken = [events for events in found if events[-1] is not None]
        assert len(broken) == 1
        assert broken[0][-1]["error"]["code"] == "engine_failed"
        assert broken[0][1]["choices"][0]["delta"]["content"] == " there"
        dying.healthy = False
        assert [gateway.chat(stream=True).events[-1] for _ in range(3)] == [None] * 3
        assert gateway.metric("patchpm_gateway_broken_answers_total") == 1


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_is_ill_gets_nothing_until_it_is_well() -> None:
    one, two = engine(), engine()
    with running(everybody(patch("acme/a")), one, two) as gateway:
        site = gateway.site
        assert site is not None
        one.healthy = False
        gateway.wait_for(lambda: len(site.upstreams.ready) == 1)
        before = len(one.chats)
        assert at_once(gateway, 4) == [200] * 4
        assert len(one.chats) == before
        one.healthy = True
        gateway.wait_for(lambda: len(site.upstreams.ready) == 2)
        assert gateway.metric(f'patchpm_gateway_engine_ready{{engine="{one.url}"}}') == 1


@pytest.mark.usefixtures("impatient")
def test_without_any_engine_the_answer_says_so_and_the_load_balancer_is_told() -> None:
    with running(everybody(patch("acme/a"))) as gateway:
        site = gateway.site
        assert site is not None
        gateway.engine.healthy = False
        gateway.wait_for(lambda: not site.upstreams.ready)
        answer = gateway.chat()
        assert (answer.status, answer.error, answer.headers["retry-after"]) == (503, "no_engine", "2")
        assert gateway.get("/health").status == 503


def test_engines_are_exchanged_while_a_stream_runs() -> None:
    old, new = engine(pause=0.2), engine()
    with running(everybody(patch("acme/a")), old) as gateway, served(new.app()) as url, ThreadPoolExecutor(1) as pool:
        site, loop = gateway.site, gateway.loop
        assert site is not None
        assert loop is not None
        stream = pool.submit(gateway.chat, stream=True)
        gateway.wait_for(lambda: old.sent >= 1)
        old.pause = 60
        loop.call_soon_threadsafe(site.upstreams.swap, [url])
        gateway.wait_for(lambda: [one.url for one in site.upstreams.ready] == [url])
        assert gateway.chat().status == 200
        assert len(new.chats) == 1
        old.pause = 0
        assert stream.result().events[-1] is None
