"""The guard of a gateway: it probes its upstream, and traffic waits for what it finds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import urllib3

from patchpm.guard.served import AsLocked, Doubt, Stripped, Unclear
from patchpm.guard.watch import Checked, Policy, Watch
from tests.guard.conftest import Locked
from tests.guard.openai_server import Server


def over(url: str) -> Callable[[bytes], Awaitable[bytes]]:
    """Asks a server as a gateway would."""

    async def ask(body: bytes) -> bytes:
        response = await asyncio.to_thread(
            urllib3.request, "POST", f"{url}/v1/chat/completions", body=body, retries=False, timeout=20
        )
        return response.data

    return ask


def test_no_traffic_passes_before_the_first_check_and_some_after_it(locked: Locked) -> None:
    with Server(locked.patches).running() as url:
        watch = Watch(locked.reference, over(url))
        assert not watch.may_serve
        assert asyncio.run(watch.check()).finding.served == AsLocked()
        assert watch.may_serve


def test_traffic_stops_when_the_prefix_is_gone_and_goes_on_when_it_is_back(locked: Locked) -> None:
    with Server(locked.patches).running() as right, Server().running() as stripped:
        upstream = [right]

        async def ask(body: bytes) -> bytes:
            return await over(upstream[0])(body)

        watch = Watch(locked.reference, ask)
        seen = []
        for url in (right, stripped, right):
            upstream[0] = url
            asyncio.run(watch.check())
            seen.append(watch.may_serve)
    assert seen == [True, False, True]
    values = {(name, labels.get("served")): value for name, labels, value in watch.metrics()}
    assert values["patchpm_guard_checks_total", "right"] == 2
    assert values["patchpm_guard_checks_total", "stripped"] == 1
    assert values["patchpm_guard_right", None] == 1
    assert values["patchpm_guard_distance", None] < values["patchpm_guard_threshold", None]


def test_an_alarm_lets_traffic_pass_and_tells(locked: Locked) -> None:
    told: list[Checked] = []
    with Server().running() as url:
        watch = Watch(locked.reference, over(url), policy=Policy.ALARM, on_finding=told.append)
        asyncio.run(watch.check())
    assert watch.may_serve
    assert [one.finding.served for one in told] == [Stripped()]


def test_an_upstream_that_is_down_is_no_right_one(locked: Locked) -> None:
    async def ask(body: bytes) -> bytes:
        raise ConnectionRefusedError(111, "Connection refused")

    watch = Watch(locked.reference, ask)
    finding = asyncio.run(watch.check()).finding
    assert finding.served == Unclear(Doubt.NO_ANSWER)
    assert not watch.may_serve


def test_it_checks_again_and_again_until_it_is_cancelled(locked: Locked) -> None:
    async def run() -> int:
        checks = 0
        enough = asyncio.Event()

        def on_finding(_: Checked) -> None:
            nonlocal checks
            checks += 1
            if checks == 3:
                enough.set()

        async def ask(body: bytes) -> bytes:
            return b'{"error": {"message": "busy"}}'

        watch = Watch(locked.reference, ask, every=timedelta(milliseconds=1), on_finding=on_finding)
        task = asyncio.create_task(watch.run())
        await asyncio.wait_for(enough.wait(), 10)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return checks

    assert asyncio.run(run()) >= 3
