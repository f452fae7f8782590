"""Giving files out: whole, in parts, not at all if the client has them, and in pages of a listing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.server.builders import Client, Server, deleted, file, large_file, options_in, serving

DATA = bytes(range(200))


@pytest.fixture(scope="module")
def address(running: Server, old_repo: str) -> str:
    """Where a file of 200 bytes is."""
    assert running.known("ann").commit(old_repo, file("data.bin", DATA)).status == 200
    return f"/{old_repo}/resolve/main/data.bin"


@pytest.mark.parametrize(
    ("asked", "status", "found"),
    [
        ("bytes=0-9", 206, DATA[:10]),
        ("bytes=190-", 206, DATA[190:]),
        ("bytes=-5", 206, DATA[-5:]),
        ("bytes=-500", 206, DATA),
        ("bytes=199-999999999999999999", 206, DATA[199:]),
        ("bytes=200-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=5-1", 200, DATA),
        ("bytes=-", 200, DATA),
        ("bytes=0-1,5-6", 200, DATA),
        ("bytes=" + "9" * 19 + "-", 200, DATA),
        ("bytes=+1-2", 200, DATA),
        ("bytes=²-3", 200, DATA),
        ("lines=1-2", 200, DATA),
        ("", 200, DATA),
    ],
)
def test_a_part_is_given_where_one_is_asked_for(
    server: Server, address: str, asked: str, status: int, found: bytes | None
) -> None:
    answer = server.anyone.get(address, Range=asked.encode("latin-1").decode("latin-1"))
    assert answer.status == status
    if found is None:
        assert answer.headers["content-range"] == "bytes */200"
        assert answer.error
    else:
        assert answer.data == found
        assert ("content-range" in answer.headers) is (status == 206)


def test_a_part_of_another_version_is_the_whole(server: Server, address: str) -> None:
    etag = server.anyone.get(address).headers["etag"]
    assert server.anyone.get(address, Range="bytes=0-1", If_Range=etag).status == 206
    assert server.anyone.get(address, Range="bytes=0-1", If_Range='"other"').status == 200


def test_what_the_client_has_is_not_sent_again(server: Server, address: str) -> None:
    etag = server.anyone.get(address).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = server.anyone.get(address, If_None_Match=known)
        assert (answer.status, answer.data, answer.headers["etag"]) == (304, b"", etag)
    for unknown in ('"other"', "nonsense", "", etag.strip('"')):
        assert server.anyone.get(address, If_None_Match=unknown).status == 200


def test_head_says_what_get_would_and_sends_nothing(server: Server, address: str) -> None:
    got, head = server.anyone.get(address), server.anyone.call("HEAD", address, Range="bytes=0-1")
    assert (head.status, head.data, head.headers["content-length"]) == (200, b"", "200")
    for name in ("etag", "x-repo-commit", "cache-control", "x-content-type-options"):
        assert head.headers[name] == got.headers[name]
    missing = server.anyone.call("HEAD", address + "x")
    assert (missing.status, missing.headers["x-error-code"]) == (404, "EntryNotFound")
    assert "x-repo-commit" in missing.headers


def test_only_what_cannot_change_may_be_kept(server: Server, ann: Client, old_repo: str, address: str) -> None:
    fixed = address.replace("main", ann.head(old_repo))
    assert server.anyone.get(fixed).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert server.anyone.get(address).headers["cache-control"] == "no-cache"


def test_a_file_has_the_etag_that_git_gives_it_and_a_large_one_its_digest(
    server: Server, ann: Client, repo: str
) -> None:
    data = b"large" * 1000
    sha256 = ann.upload(repo, data)
    ann.commit(repo, large_file("w.bin", sha256), file("empty", b""))
    large = server.anyone.get(f"/{repo}/resolve/main/w.bin")
    assert large.data == data
    assert large.headers["etag"] == large.headers["x-linked-etag"] == f'"{sha256}"'
    empty = server.anyone.get(f"/{repo}/resolve/main/empty")
    assert (empty.data, empty.headers["content-length"]) == (b"", "0")
    assert empty.headers["etag"] == f'"{hashlib.sha1(b"blob 0" + bytes(1)).hexdigest()}"'
    assert server.anyone.get(f"/{repo}/resolve/main/empty", Range="bytes=0-0").status == 416


@pytest.mark.parametrize(
    "path",
    [
        "..%2F..%2Fregistry.db",
        "../../../registry.db",
        "%2e%2e/%2e%2e/registry.db",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "data.bin%00",
        "data.bin/",
        "%ff",
        "%",
        "%zz",
        "a" * 5000,
        "%F0%9F%98%80",
        "%ED%A0%80",
        "",
    ],
)
def test_a_path_that_names_no_file_gives_none(server: Server, address: str, path: str) -> None:
    answer = server.anyone.get(address.replace("data.bin", path))
    assert answer.status in (400, 404)
    assert answer.error


def test_listings_come_in_pages_and_every_file_once(server: Server, ann: Client) -> None:
    repo = server.repo(ann)
    paths = [f"{number % 3}/{number:04}" for number in range(1500)] + ["0-", "0.txt", "00", "z"]
    ann.commit(repo, *({"key": "file", "value": {"path": path, "content": ""}} for path in paths))
    ann.commit(repo, deleted("1/"))
    expected = sorted(path for path in paths if not path.startswith("1/"))
    for query, wanted in (("recursive=true", expected), ("", ["0-", "0.txt", "00", "z"])):
        found: list[str] = []
        folders: list[str] = []
        link: str | None = f"{server.url}/api/models/{repo}/tree/main?{query}"
        while link:
            answer = ann.get(link.removeprefix(server.url))
            found += [item["path"] for item in answer.json() if item["type"] == "file"]
            folders += [item["path"] for item in answer.json() if item["type"] == "directory"]
            link = answer.headers.get("link", "").partition(">")[0].removeprefix("<") or None
        assert (sorted(found), sorted(folders)) == (wanted, ["0", "2"])
        assert len(found) == len(wanted)


@pytest.mark.parametrize(
    "query",
    [
        "cursor=nonsense",
        "cursor=W10=",
        "cursor=WzEsMl0=",
        "cursor=%00",
        "limit=0",
        "limit=-1",
        "limit=9999999",
        "limit=1e3",
        "limit=²",
        "sort=password",
        "filter=" + "a," * 30,
        "author=%00",
        "search=%ED%A0%80%00",
        "sort=downloads&cursor=" + quote("WzkyMjMzNzIwMzY4NTQ3NzU4MDgsIDFd"),
        "cursor=" + "W1s" * 3000,
    ],
)
def test_a_query_that_is_none_is_refused(server: Server, query: str) -> None:
    answer = server.anyone.get(f"/api/models?{query}")
    assert answer.status == 400
    assert answer.error


def test_repositories_come_in_pages_by_any_order(server: Server, ann: Client) -> None:
    mine = {server.repo(ann) for _ in range(7)}
    for sort in ("lastModified", "createdAt", "downloads", "created_at"):
        link: str | None = f"{server.url}/api/models?author=acme&limit=3&sort={sort}"
        found: list[str] = []
        while link:
            answer = ann.get(link.removeprefix(server.url))
            found += [item["id"] for item in answer.json()]
            link = answer.headers.get("link", "").partition(">")[0].removeprefix("<") or None
        assert len(found) == len(set(found))
        assert mine <= set(found)


@pytest.mark.parametrize("query", ["before=x", "before=-1", "before=99999999999", "before=%00"])
def test_a_page_of_commits_that_is_none_is_refused(server: Server, old_repo: str, query: str) -> None:
    assert server.anyone.get(f"/api/models/{old_repo}/commits/main?{query}").status == 400


def test_downloads_of_weights_are_counted_and_nothing_else(tmp_path: Path) -> None:
    with serving(options_in(tmp_path / "server")) as server:
        ann = server.client("ann")
        repo = server.repo(ann, README="# Hello", p__prefix="x")
        ann.commit(repo, file("prefix.safetensors", b"x" * 100))
        where = f"/{repo}/resolve/main/"
        for _ in range(3):
            server.anyone.get(where + "prefix.safetensors")
        server.anyone.get(where + "README")
        server.anyone.call("HEAD", where + "prefix.safetensors")
        server.anyone.get(where + "prefix.safetensors", Range="bytes=5-")
        server.site.downloads.flush()
        assert ann.get(f"/api/models/{repo}").json()["downloads"] == 3
        server.anyone.get(where + "prefix.safetensors")
    with serving(options_in(tmp_path / "server")) as server:
        # What was not written yet is written when the server stops.
        assert server.anyone.get(f"/api/models/{repo}").json()["downloads"] == 4
