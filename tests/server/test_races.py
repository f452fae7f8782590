"""Many clients at one moment: one wins what only one can have, and all win what each can have."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tests.server.builders import Answer, Client, Server, file

pytestmark = pytest.mark.slow

WRITERS = 16


def at_once(work: Callable[[int], Answer], workers: int = WRITERS) -> Counter[int]:
    """Statuses of as many calls at the same moment."""
    found: list[int] = []
    barrier = threading.Barrier(workers)

    def run(number: int) -> None:
        barrier.wait()
        found.append(work(number).status)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(found)


def test_of_sixteen_writers_on_one_parent_one_wins(ann: Client, repo: str) -> None:
    parent = ann.head(repo)
    found = at_once(lambda number: ann.commit(repo, file(f"by-{number}", b"1"), parent=parent))
    assert found == {200: 1, 412: WRITERS - 1}
    assert len([item for item in ann.get(f"/api/models/{repo}/tree/main").json() if item["path"][:3] == "by-"]) == 1


def test_writers_that_name_no_parent_all_get_their_file_in(ann: Client, repo: str) -> None:
    found = at_once(lambda number: ann.commit(repo, file(f"by-{number}", b"1")), 6)
    assert found == {200: 6}
    assert len([item for item in ann.get(f"/api/models/{repo}/tree/main").json() if item["path"][:3] == "by-"]) == 6


def test_nothing_becomes_a_file_and_a_folder_at_once(ann: Client, repo: str) -> None:
    paths = ("here", "here/below")
    found = at_once(lambda number: ann.commit(repo, file(paths[number % 2], b"1")), 6)
    assert set(found) <= {200, 400}
    tree = ann.get(f"/api/models/{repo}/tree/main?recursive=1").json()
    assert len({item["type"] for item in tree if item["path"] == "here"}) == 1


def test_of_sixteen_taggers_one_wins(ann: Client, repo: str) -> None:
    assert at_once(lambda _: ann.tag(repo, "v1.0.0")) == {200: 1, 409: WRITERS - 1}


def test_of_sixteen_that_make_a_repository_one_wins(ann: Client, repo: str) -> None:
    assert at_once(lambda _: ann.create(f"{repo}-same")) == {200: 1, 409: WRITERS - 1}


def test_writers_of_different_repositories_do_not_meet(server: Server, ann: Client) -> None:
    repos = [server.repo(ann) for _ in range(WRITERS)]
    parents = [ann.head(repo) for repo in repos]
    found = at_once(lambda number: ann.commit(repos[number], file("x", b"1"), parent=parents[number]))
    assert found == {200: WRITERS}


def test_pull_requests_of_one_moment_get_numbers_of_their_own(ann: Client, bob: Client, repo: str) -> None:
    wanted = {"title": "x", "pullRequest": True}
    assert at_once(lambda _: bob.post(f"/api/models/{repo}/discussions", wanted), 8) == {200: 8}
    found = ann.get(f"/api/models/{repo}/discussions").json()["discussions"]
    assert sorted(item["num"] for item in found) == list(range(1, 9))


def test_a_pull_request_is_merged_once(ann: Client, bob: Client, repo: str) -> None:
    number = bob.post(f"/api/models/{repo}/discussions", {"title": "x", "pullRequest": True}).json()["num"]
    bob.commit(repo, file("gift", b"1"), at=f"refs%2Fpr%2F{number}")
    found = at_once(lambda _: ann.post(f"/api/models/{repo}/discussions/{number}/merge", {}), 8)
    assert found[200] == 1
    assert set(found) <= {200, 409, 412}
    titles = [item["title"] for item in ann.get(f"/api/models/{repo}/commits/main").json()]
    assert titles.count("x (#1)") == 1


def test_a_repository_that_goes_while_others_write_to_it_is_gone(ann: Client, repo: str) -> None:
    def work(number: int) -> Answer:
        if number == 0:
            return ann.call("DELETE", "/api/repos/delete", {"organization": "acme", "name": repo})
        return ann.commit(repo, file(f"by-{number}", b"1")) if number % 2 else ann.tag(repo, f"t{number}")

    found = at_once(work, 8)
    assert set(found) <= {200, 404, 409, 412}
    assert ann.get(f"/api/models/{repo}").status == 404


@pytest.mark.parametrize("path", ["tree/main", "commits/main", "refs", "revision/main"])
def test_readers_see_whole_commits_while_someone_writes(ann: Client, repo: str, path: str) -> None:
    stop = threading.Event()

    def write() -> None:
        for number in range(5):
            ann.commit(repo, file(f"a-{number}", b"1"), file(f"b-{number}", b"1"))
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        answer = ann.get(f"/api/models/{repo}/{path}")
        assert answer.status == 200
        if path == "tree/main":
            names = [item["path"] for item in answer.json()]
            assert {name[2:] for name in names if name[:2] == "a-"} == {name[2:] for name in names if name[:2] == "b-"}
    writer.join()
