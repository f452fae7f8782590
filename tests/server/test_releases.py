"""A tag of a release, and what it names, stays as it is: whoever asks, whichever way."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from tests.server.builders import Client, Server, deleted, file


@pytest.fixture
def released(server: Server, ann: Client, repo: str) -> str:
    """A repository with the release 1.0.0."""
    assert ann.tag(repo, "v1.0.0").status == 200
    return repo


def content(server: Server, repo: str) -> bytes:
    return server.anyone.get(f"/{repo}/resolve/v1.0.0/README").data


def test_the_server_neither_moves_nor_drops_it(server: Server, ann: Client, released: str) -> None:
    ann.commit(released, file("README", b"new"))
    assert ann.tag(released, "v1.0.0").status == 409
    assert ann.call("DELETE", f"/api/models/{released}/tag/v1.0.0").status == 403
    assert ann.call("DELETE", "/api/repos/delete", {"organization": "acme", "name": released}).status == 403
    assert content(server, released) == b"# Hello"


def test_a_branch_of_its_name_cannot_hide_it(server: Server, ann: Client, released: str) -> None:
    ann.commit(released, file("README", b"new"))
    assert ann.post(f"/api/models/{released}/branch/v1.0.0", {"startingPoint": "main"}).status == 400
    assert ann.post(f"/api/models/{released}/branch/refs%2Fheads%2Fv1.0.0", {}).status == 400
    assert content(server, released) == b"# Hello"


def test_a_tag_cannot_hide_a_branch_nor_a_branch_a_tag(ann: Client, repo: str) -> None:
    assert ann.tag(repo, "main").status == 409
    ann.tag(repo, "latest")
    assert ann.post(f"/api/models/{repo}/branch/latest", {}).status == 409
    assert ann.post(f"/api/models/{repo}/branch/next", {}).status == 200
    assert ann.tag(repo, "next").status == 409


def test_what_is_written_out_as_a_tag_or_a_branch_is_that_only(ann: Client, released: str) -> None:
    for revision, status in (
        ("refs%2Ftags%2Fv1.0.0", 200),
        ("refs%2Fheads%2Fmain", 200),
        ("refs%2Fheads%2Fv1.0.0", 404),
        ("refs%2Ftags%2Fmain", 404),
    ):
        assert ann.get(f"/api/models/{released}/revision/{revision}").status == status, revision
        assert ann.get(f"/{released}/resolve/{revision}/README").status == status, revision


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE refs SET sha = (SELECT max(sha) FROM commits) WHERE kind = 'tag'",
        "UPDATE refs SET name = 'w1' WHERE name = 'v1.0.0'",
        "UPDATE refs SET kind = 'branch' WHERE kind = 'tag'",
        "DELETE FROM refs WHERE name = 'v1.0.0'",
        "DELETE FROM refs",
        "DELETE FROM commits",
        "DELETE FROM lines",
        "DELETE FROM entries",
        "UPDATE entries SET sha256 = NULL",
        "UPDATE commits SET number = number + 100",
        "UPDATE lines SET from_number = 0",
        "DELETE FROM repos WHERE id IN (SELECT repo FROM refs WHERE name = 'v1.0.0')",
    ],
)
def test_the_database_refuses_what_would_change_it(server: Server, released: str, statement: str) -> None:
    with pytest.raises(IntegrityError):
        server.sql(statement)
    assert content(server, released) == b"# Hello"


def test_the_ways_round_a_row_are_closed_too(server: Server, released: str) -> None:
    on_sqlite = server.site.engine.dialect.name == "sqlite"
    copy = "SELECT repo, kind, name, (SELECT min(sha) FROM commits), line FROM refs WHERE name = 'v1.0.0'"
    ways = (
        [f"INSERT OR REPLACE INTO refs (repo, kind, name, sha, line) {copy}"]
        if on_sqlite
        else ["TRUNCATE refs", "TRUNCATE entries", "TRUNCATE repos CASCADE"]
    )
    for statement in ways:
        with pytest.raises(IntegrityError):
            server.sql(statement)
    assert content(server, released) == b"# Hello"


def test_other_tags_and_repositories_without_releases_go_with_all_that_is_in_them(
    server: Server, ann: Client, repo: str
) -> None:
    ann.tag(repo, "latest")
    ann.post(f"/api/models/{repo}/branch/next", {"startingPoint": "main"})
    assert ann.commit(repo, file("deep/file", b"1"), deleted("README"), at="next").status == 200
    ann.post(f"/api/models/{repo}/discussions", {"title": "x", "description": "y", "pullRequest": True})
    assert ann.call("DELETE", f"/api/models/{repo}/tag/latest").status == 200
    (before,) = server.sql("SELECT count(*) FROM lines")
    assert ann.call("DELETE", "/api/repos/delete", {"organization": "acme", "name": repo}).status == 200
    assert ann.get(f"/api/models/{repo}").status == 404
    (after,) = server.sql("SELECT count(*) FROM lines")
    assert before[0] - after[0] == 3
