"""Registries in object storage: a store in memory that keeps its conditions, and an S3 server on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

import pytest
from obstore.store import MemoryStore, ObjectStore

from patchpm.errors import CannotError
from patchpm.registry.bucket import BucketHost
from patchpm.registry.folder import HEAD
from patchpm.registry.hosts import open_host
from tests.registry.s3 import new_bucket, s3_server
from tests.simulator import refused

FIRST = [("metadata/1.root.json", b"root"), (HEAD, b"one")]


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture(params=["memory", "s3"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BucketHost:
    if request.param == "memory":
        return BucketHost(MemoryStore(), "memory:")
    environment = request.getfixturevalue("server")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = open_host(f"s3://{new_bucket(environment)}/below/it")
    assert isinstance(made, BucketHost)
    return made


def objects(host: BucketHost) -> set[str]:
    """All but what remains of finished commits: the revision that each made."""
    paths = {item["path"] for batch in host._store.list() for item in batch}
    return {path for path in paths if not (path.startswith("commits/") and len(host.read(path, 1000) or b"") == 64)}


def test_what_was_committed_is_read_back_and_nothing_else_is_left(host: BucketHost) -> None:
    assert host.head() == ""
    host.commit(FIRST, "")
    assert host.read("metadata/1.root.json", 10) == b"root"
    assert host.read("metadata/2.root.json", 10) is None
    assert objects(host) == {"metadata/1.root.json", HEAD}


def test_a_commit_on_an_old_state_is_refused_and_changes_nothing(host: BucketHost) -> None:
    host.commit(FIRST, "")
    first = host.head()
    host.commit([(HEAD, b"two")], first)
    with refused("publish-conflict"):
        host.commit([("metadata/x.json", b"lost"), (HEAD, b"three")], first)
    assert host.read(HEAD, 10) == b"two"
    assert objects(host) == {"metadata/1.root.json", HEAD}


def test_an_object_over_its_limit_is_not_read(host: BucketHost) -> None:
    host.commit(FIRST, "")
    assert host.read("metadata/1.root.json", 4) == b"root"
    with refused("too-large", "1.root.json"):
        host.read("metadata/1.root.json", 3)


def test_of_sixteen_writers_of_one_state_one_wins(host: BucketHost) -> None:
    host.commit(FIRST, "")
    first = host.head()
    outcomes: list[str] = []
    barrier = threading.Barrier(16)

    def write(number: int) -> None:
        barrier.wait()
        try:
            host.commit([(f"metadata/{number}.json", b"x"), (HEAD, f"by {number}".encode())], first)
            outcomes.append(str(number))
        except CannotError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome != "publish-conflict"]
    assert len(outcomes) == 16
    assert len(winners) == 1
    assert host.read(HEAD, 10) == f"by {winners[0]}".encode()
    host.head()
    assert objects(host) == {"metadata/1.root.json", f"metadata/{winners[0]}.json", HEAD}


class KilledError(Exception):
    """The writer is dead."""


def watched(store: ObjectStore, before: Callable[[str, tuple[Any, ...], dict[str, Any]], None]) -> BucketHost:
    """A host whose every call of the store is told to `before` first, with its name and what is given to it."""

    class Watched:
        def __getattr__(self, name: str) -> Any:
            def call(*given: Any, **options: Any) -> Any:
                before(name, given, options)
                return getattr(store, name)(*given, **options)

            return call

    return BucketHost(cast("ObjectStore", Watched()), "memory:")


@pytest.mark.parametrize("writes", range(11))
def test_a_writer_killed_before_any_of_its_writes_leaves_the_old_state_or_one_that_the_next_writer_finishes(
    writes: int,
) -> None:
    store = MemoryStore()
    whole = BucketHost(store, "memory:")
    whole.commit(FIRST, "")
    left = [writes]

    def die(name: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        if name in ("put", "delete"):
            left[0] -= 1
            if left[0] < 0:
                raise KilledError

    state = whole.head()
    with suppress(KilledError):
        watched(store, die).commit([("metadata/a.json", b"a"), ("metadata/b.json", b"b"), (HEAD, b"two")], state)
    assert whole.read(HEAD, 10) in (b"one", b"two")
    whole.commit([(HEAD, b"three")], whole.head())
    assert whole.read(HEAD, 10) == b"three"
    decided = writes >= 5
    assert whole.read("metadata/a.json", 10) == (b"a" if decided else None)
    assert whole.read("metadata/b.json", 10) == (b"b" if decided else None)


def test_a_writer_that_slept_while_others_committed_loses_and_breaks_nothing() -> None:
    store = MemoryStore()
    host = BucketHost(store, "memory:")
    host.commit(FIRST, "")
    first = host.head()

    def others_are_faster(name: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        if name == "put" and given[0] == f"commits/after-{first}" and host.head() == first:
            host.commit([("metadata/2.snapshot.json", b"theirs"), (HEAD, b"two")], first)

    with refused("publish-conflict"):
        watched(store, others_are_faster).commit([("metadata/2.snapshot.json", b"mine"), (HEAD, b"late")], first)
    assert host.read("metadata/2.snapshot.json", 10) == b"theirs"
    assert host.read(HEAD, 10) == b"two"
    assert objects(host) == {"metadata/1.root.json", "metadata/2.snapshot.json", HEAD}


def test_a_reader_of_an_old_state_never_puts_the_files_of_a_loser_over_those_of_the_winner() -> None:
    store = MemoryStore()
    host = BucketHost(store, "memory:")
    host.commit(FIRST, "")
    first = host.head()
    to_happen = ["a winner", "a late loser"]

    def others_commit(name: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        if name == "get" and given[0] == f"commits/after-{first}" and to_happen:
            to_happen.clear()
            host.commit([("metadata/2.snapshot.json", b"won"), (HEAD, b"two")], first)
            late = BucketHost(store, "memory:")
            late.head = lambda: first  # type: ignore[method-assign]  # it looked before the winner was done
            with refused("publish-conflict"):
                late.commit([("metadata/2.snapshot.json", b"lost"), (HEAD, b"late")], first)

    assert watched(store, others_commit).head() == host.head() != first
    assert host.read("metadata/2.snapshot.json", 10) == b"won"


def test_a_timestamp_that_was_put_back_is_told_and_not_built_upon() -> None:
    store = MemoryStore()
    host = BucketHost(store, "memory:")
    host.commit(FIRST, "")
    host.commit([(HEAD, b"two")], host.head())
    store.put(HEAD, b"one")
    with refused("malformed-commit", "put back"):
        host.head()


def test_a_commit_whose_answer_was_lost_counts_even_if_another_writer_finished_it() -> None:
    store = MemoryStore()
    host = BucketHost(store, "memory:")

    def twice(name: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        if name == "put" and given[0] == "commits/after-nothing" and options["mode"] == "create":
            store.put(*given, **options)
            assert host.head() != ""

    watched(store, twice).commit(FIRST, "")
    assert host.read(HEAD, 10) == b"one"


def test_a_commit_that_another_writer_finished_counts() -> None:
    store = MemoryStore()
    host = BucketHost(store, "memory:")
    decided = [False]

    def others_help(name: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        if decided[0] and name == "get":
            decided[0] = False
            host.head()
        decided[0] |= name == "put" and given[0] == "commits/after-nothing" and options["mode"] == "create"

    watched(store, others_help).commit(FIRST, "")
    assert host.read(HEAD, 10) == b"one"
    assert objects(host) == {"metadata/1.root.json", HEAD}


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"../x": ""}', b'{"metadata/timestamp.json": 1}', b'{"metadata/x": "eA=="}']
)
def test_an_object_in_the_place_of_a_commit_that_is_none_is_told_with_the_way_out(data: bytes) -> None:
    store = MemoryStore()
    store.put("commits/after-nothing", data)
    with refused("malformed-commit", "commits/after-nothing"):
        BucketHost(store, "memory:").commit(FIRST, "")


def test_a_commit_whose_answer_was_lost_counts() -> None:
    store = MemoryStore()

    def twice(name: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        if name == "put" and given[0].startswith("commits/after"):
            store.put(*given, **options)

    host = watched(store, twice)
    host.commit(FIRST, "")
    assert host.read(HEAD, 10) == b"one"


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_the_conditions_of_writes_is_not_written_to(ignored: str) -> None:
    store = MemoryStore()

    def ignore(name: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        mode = options.get("mode")
        if mode == "create" if ignored == "If-None-Match" else isinstance(mode, dict):
            options["mode"] = "overwrite"

    with refused("unsafe-store", ignored):
        watched(store, ignore).commit(FIRST, "")
    assert objects(BucketHost(store, "memory:")) == set()


@pytest.mark.parametrize("url", ["s3://", "s3://bucket?x=1", "s3://name:secret@bucket", "gs:///prefix", "s3://["])
def test_addresses_that_name_no_bucket_are_refused(url: str) -> None:
    with refused("unsupported-registry"):
        open_host(url)


def test_a_bucket_that_is_not_there_is_a_network_error(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    host = open_host("s3://no-such-bucket-at-all")
    assert not host.is_local
    with refused("unreachable", "no-such-bucket-at-all"):
        host.commit(FIRST, "")
