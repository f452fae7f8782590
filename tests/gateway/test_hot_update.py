"""A new lock reaches a running gateway without a request being dropped, and a broken one changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from patchpm.errors import IntegrityError
from patchpm.gateway.roster import Roster
from tests.gateway.builders import everybody, patch, running, tenants


class Disk:
    """What a gateway loads: a roster, or an error."""

    def __init__(self, roster: Roster) -> None:
        self.now: Roster | Exception = roster

    def __call__(self) -> Roster:
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


def test_requests_after_a_reload_get_the_new_set_and_those_before_end_with_the_old_one() -> None:
    disk = Disk(everybody(patch("acme/a")))
    with running(disk) as gateway, ThreadPoolExecutor(2) as pool:
        gateway.engine.pause = 0.2
        stream = pool.submit(gateway.chat, stream=True)
        gateway.wait_for(lambda: gateway.engine.sent >= 1)
        gateway.engine.pause = 60
        disk.now = everybody(patch("acme/a"), patch("acme/b"))
        gateway.reload()
        new = pool.submit(gateway.chat)
        gateway.wait_for(lambda: len(gateway.engine.chats) == 2)
        gateway.engine.pause = 0
        assert new.result().headers["x-patchpm-tokens"] == "10"
        old = stream.result()
        assert old.headers["x-patchpm-tokens"] == "5"
        assert old.events[-1] is None


def test_no_request_is_dropped_while_sets_change_to_and_fro() -> None:
    sets = [everybody(patch("acme/a")), everybody(patch("acme/a"), patch("acme/b"))]
    disk = Disk(sets[0])
    with running(disk) as gateway, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(gateway.chat, stream=bool(number % 2)) for number in range(80)]
        for number in range(10):
            disk.now = sets[number % 2]
            gateway.reload()
        answers = [one.result() for one in waiting]
        assert {answer.status for answer in answers} == {200}
        assert not any(b'"error"' in answer.data for answer in answers)
        assert gateway.metric('patchpm_gateway_count_checks_total{result="right"}') == 80


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_changes_while_the_one_before_is_read_is_read_as_well(tmp_path: Path) -> None:
    lock = tmp_path / "patchpm.lock"
    lock.write_text("first")
    read: list[str] = []

    def load() -> Roster:
        read.append(lock.read_text())
        if read[-1] == "second":
            lock.write_text("the third")
        return everybody(patch("acme/a"))

    with running(load, watched=lambda: [str(lock)]) as gateway:
        lock.write_text("second")
        gateway.wait_for(lambda: read[-1] == "the third")
        assert read == ["first", "second", "the third"]


def test_a_broken_lock_is_refused_and_the_old_set_stays() -> None:
    disk = Disk(everybody(patch("acme/a")))
    with running(disk) as gateway:
        before = gateway.chat().headers["x-patchpm-set"]
        disk.now = IntegrityError("lock-mismatch", "patchpm.lock does not fit what is signed")
        gateway.reload()
        assert gateway.chat().headers["x-patchpm-set"] == before
        assert gateway.metric('patchpm_gateway_reloads_total{result="refused"}') == 1
        (said,) = [record for record in gateway.records if record.getMessage() == "reload refused"]
        assert said.fields["code"] == "lock-mismatch"  # type: ignore[attr-defined]


def test_a_roll_back_brings_the_old_digest_back() -> None:
    old, new = everybody(patch("acme/a")), everybody(patch("acme/b"))
    disk = Disk(old)
    with running(disk) as gateway:
        seen = []
        for roster in (old, new, old):
            disk.now = roster
            gateway.reload()
            seen.append(gateway.chat().headers["x-patchpm-set"])
        assert seen[0] == seen[2] != seen[1]


def test_a_key_that_was_taken_away_is_refused_from_the_reload_on() -> None:
    disk = Disk(tenants({"ann": (patch("acme/a"),), "bob": ()}))
    with running(disk) as gateway:
        assert gateway.chat(key="key-of-bob").status == 200
        disk.now = tenants({"ann": (patch("acme/a"),)})
        gateway.reload()
        assert gateway.chat(key="key-of-bob").status == 401
        assert gateway.chat(key="key-of-ann").status == 200


@pytest.mark.usefixtures("impatient")
def test_a_watched_file_reloads_when_it_changes_and_only_then(tmp_path: Path) -> None:
    lock = tmp_path / "patchpm.lock"
    lock.write_text("1")
    disk = Disk(everybody(patch("acme/a")))
    with running(disk, watched=lambda: [str(lock)]) as gateway:
        disk.now = everybody(patch("acme/a"), patch("acme/b"))
        assert gateway.chat().headers["x-patchpm-tokens"] == "5"
        new = tmp_path / "new"
        new.write_text("2")
        new.replace(lock)
        gateway.wait_for(lambda: gateway.metric('patchpm_gateway_reloads_total{result="changed"}') == 1)
        assert gateway.chat().headers["x-patchpm-tokens"] == "10"
