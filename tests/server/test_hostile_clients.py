"""Clients that lie, stall, flood or speak something else: refused with a reason, never a failure, never a hang."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable

import pytest

from tests.server.builders import Client, Server, file
from tests.server.test_commits import HEADER


def talk(server: Server, *pieces: bytes) -> bytes:
    """Send raw bytes, and read until the server has no more to say."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as line:
        for piece in pieces:
            line.sendall(piece)
        line.settimeout(20)
        found = b""
        while b"\r\n\r\n" not in found or not _is_whole(found):
            piece = line.recv(65536)
            if not piece:
                break
            found += piece
    return found


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: ([0-9]+)", head)
    return length is not None and len(body) >= int(length[1])


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def head(client: Client, repo: str, *more: str, method: str = "POST", path: str | None = None) -> bytes:
    path = path or f"/api/models/{repo}/commit/main"
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {client.token}", *more, "", ""]
    ).encode("latin-1")


def test_a_body_that_stops_is_given_up(server: Server, ann: Client, old_repo: str) -> None:
    answer = talk(server, head(ann, old_repo, "Content-Length: 1000"), b"half")
    assert status(answer) == 408
    assert b"x-error-message: The body did not arrive in time" in answer
    assert b"connection: close" in answer.lower()


def test_a_chunked_body_that_stops_is_given_up(server: Server, ann: Client, old_repo: str) -> None:
    assert status(talk(server, head(ann, old_repo, "Transfer-Encoding: chunked"), b"4\r\nhalf\r\n")) == 408


def test_a_chunked_body_over_the_limit_is_not_read_on(server: Server, ann: Client, old_repo: str) -> None:
    piece = b"%x\r\n" % 65536 + b"x" * 65536 + b"\r\n"
    pieces = [piece] * (server.site.limits.commit // 65536 + 1)
    assert status(talk(server, head(ann, old_repo, "Transfer-Encoding: chunked"), *pieces)) == 413


@pytest.mark.parametrize("length", ["99999999999", "9" * 19, "9" * 400])
def test_an_announced_body_over_the_limit_is_not_waited_for(
    server: Server, ann: Client, old_repo: str, length: str
) -> None:
    assert status(talk(server, head(ann, old_repo, f"Content-Length: {length}"))) in (400, 413)


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "", " ", "1, 2", "²"])
def test_a_length_that_is_none_is_refused(server: Server, ann: Client, old_repo: str, length: str) -> None:
    assert status(talk(server, head(ann, old_repo, f"Content-Length: {length}"), b"x" * 20)) in (400, 413)


def test_a_client_that_hangs_up_within_its_body_leaves_nothing(server: Server, ann: Client, old_repo: str) -> None:
    before = ann.head(old_repo)
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as line:
            line.sendall(head(ann, old_repo, "Content-Length: 1000") + json.dumps(HEADER).encode())
    assert ann.head(old_repo) == before


def test_a_client_that_never_reads_holds_up_nobody(server: Server, ann: Client) -> None:
    old_repo = server.repo(ann)
    data = b"x" * server.site.limits.inline
    ann.commit(old_repo, file("large", data))
    host, port = server.url.removeprefix("http://").split(":")
    lines = [socket.create_connection((host, int(port))) for _ in range(60)]
    try:
        for line in lines:
            line.sendall(head(ann, old_repo, method="GET", path=f"/{old_repo}/resolve/main/large") * 20)
        assert ann.get(f"/{old_repo}/resolve/main/large").data == data
    finally:
        for line in lines:
            line.close()


@pytest.mark.parametrize("host", ["evil.example/path", "a b", "<script>", "é", "x" * 300, "a@b", ""])
def test_a_host_that_is_none_is_refused(server: Server, old_repo: str, host: str) -> None:
    raw = f"GET /api/models/{old_repo} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    assert status(talk(server, raw)) == 400


def test_addresses_in_answers_are_of_the_host_that_was_asked(server: Server, ann: Client) -> None:
    url = ann.call("POST", "/api/repos/create", {"name": "hosted"}, Host="hub.corp:8443").json()["url"]
    assert url == "http://hub.corp:8443/ann/hosted"


def test_forwarded_headers_of_strangers_are_not_believed(server: Server, ann: Client) -> None:
    more = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "evil.example", "X_Forwarded_For": "6.6.6.6"}
    answer = ann.call("POST", "/api/repos/create", {"name": "forwarded"}, **more)
    assert answer.json()["url"] == f"{server.url}/ann/forwarded"
    assert server.logged(answer)["client"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "//", 404),
        ("GET", "/api/models/", 404),
        ("GET", "/api/spaces", 404),
        ("GET", "/api/kernels/a/b", 404),
        ("GET", "/health/", 404),
        ("POST", "/health", 405),
        ("PROPFIND", "/health", 405),
        ("DELETE", "/api/models/a/b", 405),
        ("PATCH", "/api/repos/create", 405),
        ("GET", "/api/models/a/b/tree", 404),
        ("GET", "/" + "a/" * 2000, 404),
        ("GET", "/api/models/%2E%2E/%2e", 404),
        ("GET", "/api/models/a%2Fb/c", 404),
        ("GET", "/api/models/a%00/b", 400),
        ("GET", "/api/models/a/b/revision/%ff", 400),
    ],
)
def test_what_is_not_there_is_said_as_clients_expect(server: Server, method: str, path: str, status: int) -> None:
    answer = server.anyone.call(method, path)
    assert answer.status == status
    assert answer.error
    assert ("allow" in answer.headers) is (status == 405)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'"x"', b"\xff", b"[" * 16000, b'{"name": ' + b"9" * 5000 + b"}", b"\xef\xbb\xbf{}"],
)
def test_a_body_that_is_no_object_is_refused(server: Server, ann: Client, old_repo: str, body: bytes) -> None:
    for method, path in (
        ("POST", "/api/repos/create"),
        ("POST", f"/api/models/{old_repo}/tag/main"),
        ("POST", f"/api/models/{old_repo}/discussions"),
        ("POST", f"/api/models/{old_repo}/preupload/main"),
        ("POST", f"/{old_repo}.git/info/lfs/objects/batch"),
    ):
        answer = ann.call(method, path, body)
        assert (answer.status, bool(answer.error)) == (400, True), path


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfff\ud800", 1, None, [], {"a": 1}, True], ids=repr)
def test_text_that_no_database_keeps_is_refused_in_every_field(
    server: Server, ann: Client, old_repo: str, text: object
) -> None:
    fields: list[tuple[str, str, Callable[[object], dict[str, object]]]] = [
        ("POST", "/api/repos/create", lambda text: {"name": text}),
        ("POST", f"/api/models/{old_repo}/tag/main", lambda text: {"tag": text}),
        ("POST", f"/api/models/{old_repo}/discussions", lambda text: {"title": text, "pullRequest": True}),
    ]
    if text is not None:
        fields += [
            ("POST", "/api/repos/create", lambda text: {"name": "fine", "organization": text}),
            ("POST", "/api/repos/create", lambda text: {"name": "fine", "type": text}),
            ("POST", "/api/validate-yaml", lambda text: {"content": text}),
            ("POST", f"/api/models/{old_repo}/branch/next", lambda text: {"startingPoint": text}),
        ]
    for method, path, body in fields:
        answer = ann.call(method, path, json.dumps(body(text)).encode())
        assert (answer.status, bool(answer.error)) == (400, True), (path, answer)


@pytest.mark.parametrize(
    "name", ["", "a b", "../x", "a/b", "é", "-a", "a..b", "a.git", "a.ipynb", "x" * 97, ".", "a\n", "a/../../b"]
)
def test_a_repository_of_no_name_is_refused(ann: Client, name: str) -> None:
    assert ann.post("/api/repos/create", {"name": name}).status == 400


@pytest.mark.parametrize(
    "name",
    ["", "a b", "-a", "a..b", "a//b", "/a", "a/", "a.lock", "refs/x", "a~1", "a^", "a:b", "é", "x" * 201, "0" * 40],
)
def test_a_tag_that_git_would_refuse_is_refused(ann: Client, old_repo: str, name: str) -> None:
    assert ann.tag(old_repo, name).status == 400
