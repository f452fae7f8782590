"""Engines that are a real tiny model, some with the right patches built in, behind a gateway that has probes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from patchpm.gateway.injection import FixedInjection
from patchpm.gateway.roster import EVERYBODY, Roster, Tenant
from patchpm.guard.attestation import read_attestation
from tests.gateway.builders import BASE, Gateway, counter, everybody, patches, running_before
from tests.guard.conftest import Locked
from tests.guard.openai_server import Server

pytestmark = pytest.mark.slow


def _roster(locked: Locked) -> Roster:
    fixed = FixedInjection.of(patches(*locked.patches), counter())
    return Roster(BASE, Tenant(EVERYBODY, fixed, locked.reference), {})


@contextmanager
def _before(locked: Locked, *engines: Server, **options: Any) -> Iterator[Gateway]:
    with ExitStack() as stack:
        urls = tuple(stack.enter_context(engine.running()) for engine in engines)
        yield stack.enter_context(running_before(_roster(locked), urls, **options))


def _guard(gateway: Gateway, served: str) -> float:
    return sum(
        float(line.rpartition(" ")[2])
        for line in gateway.get("/metrics").data.decode().splitlines()
        if line.startswith("patchpm_guard_checks_total{") and f'served="{served}"' in line
    )


def test_an_engine_with_the_locked_set_is_probed_and_then_serves(locked: Locked) -> None:
    with _before(locked, Server(patches=locked.patches)) as gateway:
        gateway.wait_for(lambda: gateway.get("/health").status == 200)
        assert gateway.chat(max_tokens=1).status == 200
        assert _guard(gateway, "right") == 1
        assert gateway.site is not None
        found = read_attestation(gateway.get("/.well-known/patchpm").data, gateway.site.signer.public)
        assert found.fingerprint is not None
        assert found.fingerprint.served == "right"


@pytest.mark.parametrize("wrong", ["foreign-prefix", "swapped-order"])
def test_an_engine_that_counts_right_and_answers_wrong_gets_no_request(locked: Locked, wrong: str) -> None:
    one, two, three = locked.patches
    engine = Server(patches=(one, two, locked.foreign) if wrong == "foreign-prefix" else (two, one, three))
    with _before(locked, engine) as gateway:
        expected = "wrong-patch" if wrong == "foreign-prefix" else "wrong-order"
        gateway.wait_for(lambda: _guard(gateway, expected) == 1)
        answer = gateway.chat(max_tokens=1)
        assert (answer.status, answer.error) == (503, "no_engine")
        said = {record.fields.get("says", "") for record in gateway.records if hasattr(record, "fields")}
        assert ("something else" if wrong == "foreign-prefix" else f"in the order {two.name}, {one.name}") in str(said)


def test_with_the_policy_alarm_a_wrong_engine_serves_and_everybody_can_see_it(locked: Locked) -> None:
    one, two, three = locked.patches
    with _before(locked, Server(patches=(two, one, three)), policy="alarm") as gateway:
        gateway.wait_for(lambda: gateway.get("/health").status == 200)
        assert gateway.chat(max_tokens=1).status == 200
        assert _guard(gateway, "wrong-order") == 1
        assert gateway.site is not None
        found = read_attestation(gateway.get("/.well-known/patchpm").data, gateway.site.signer.public)
        assert found.fingerprint is not None
        assert found.fingerprint.served == "wrong-order"


@pytest.mark.usefixtures("impatient")
def test_of_engines_and_sets_that_are_gone_nothing_is_said(locked: Locked) -> None:
    one, two = Server(patches=locked.patches), Server(patches=locked.patches)
    with ExitStack() as stack:
        urls = [stack.enter_context(engine.running()) for engine in (one, two)]
        now = _roster(locked)
        gateway = stack.enter_context(running_before(lambda: now, urls))
        site, loop = gateway.site, gateway.loop
        assert site is not None
        assert loop is not None
        gateway.wait_for(lambda: _guard(gateway, "right") == 2)
        loop.call_soon_threadsafe(site.upstreams.swap, urls[:1])
        gateway.wait_for(lambda: _guard(gateway, "right") == 1)
        now = everybody(*locked.patches)
        gateway.reload()
        gateway.wait_for(lambda: _guard(gateway, "right") == 0)


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_goes_bad_is_taken_out_and_the_others_go_on(locked: Locked) -> None:
    good, bad = Server(patches=locked.patches), Server(patches=locked.patches)
    with _before(locked, good, bad, probe_every=timedelta(seconds=1)) as gateway:
        site = gateway.site
        assert site is not None
        gateway.wait_for(lambda: len(site.upstreams.ready) == 2)
        bad.replace_patches((locked.foreign, *locked.patches[1:]))
        gateway.wait_for(lambda: len(site.upstreams.ready) == 1)
        assert {gateway.chat(max_tokens=1).status for _ in range(4)} == {200}
