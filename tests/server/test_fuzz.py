"""Anything at all, sent to every route: an answer comes, never a failure of the server's own, and nothing is torn."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, cast
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from patchpm.server.app import routes
from tests.server.builders import Client, Server, file

ROUTES = sorted((cast("Route", route).path, sorted(cast("Route", route).methods or ())) for route in routes())
FIELDS = (
    *("name", "organization", "type", "visibility", "private", "tag", "startingPoint", "content", "title", "status"),
    *("description", "pullRequest", "comment", "files", "objects", "operation", "gated", "path", "size", "oid", "key"),
)
QUERIES = (
    *("filter", "author", "search", "sort", "limit", "cursor", "full", "expand", "recursive", "before", "p", "status"),
    *("create_pr", "include_prs", "blobs", "size", "expires", "sign", "repo", "type"),
)
WORDS = ("acme", "ann", "bob", "fuzz", "main", "v1.0.0", "refs/pr/1", "refs/heads/main", "models", "datasets", "README")
ODD = (
    "",
    "0",
    "1",
    "-1",
    "true",
    "open",
    "²",
    "../..",
    "a\0b",
    "\ud800",
    "\U0010ffff",
    "%",
    "9" * 30,
    "a" * 300,
    "0" * 40,
)

text = st.one_of(st.sampled_from(WORDS), st.sampled_from(ODD), st.text(st.characters(), max_size=20))
leaf = st.one_of(text, st.integers(), st.floats(), st.booleans(), st.none())
value = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(FIELDS), text), inner, max_size=4)
    ),
    max_leaves=8,
)
fields = st.dictionaries(st.sampled_from(FIELDS), value, max_size=6)
change = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["header", "file", "lfsFile", "deletedFile", "deletedFolder", "x"]),
        "value": st.fixed_dictionaries(
            {},
            optional={
                "path": text,
                "summary": text,
                "description": text,
                "parentCommit": leaf,
                "content": st.one_of(text, st.binary(max_size=99).map(lambda data: base64.b64encode(data).decode())),
                "oid": st.one_of(text, st.just("0" * 64)),
                "encoding": st.one_of(st.just("base64"), leaf),
            },
        ),
    }
)
ndjson = st.lists(change, max_size=5).map(lambda items: b"\n".join(json.dumps(item).encode() for item in items))
body = st.one_of(
    st.just(b""),
    st.binary(max_size=60),
    fields.map(lambda found: json.dumps(found).encode()),
    value.map(lambda found: json.dumps(found).encode()),
    ndjson,
    st.dictionaries(st.just("paths"), text).map(lambda found: "&".join(map(quoted, found.values())).encode()),
)
header = st.one_of(st.sampled_from(ODD), st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20))
headers = st.dictionaries(
    st.sampled_from(
        ["Range", "If-None-Match", "If-Range", "Host", "X-Request-Id", "Content-Type", "Content-Encoding", "Accept"]
    ),
    header,
    max_size=3,
)


def quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


@dataclass(frozen=True)
class Sent:
    """A request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@st.composite
def requests(draw: Callable[[Any], Any]) -> Sent:
    """A request for some route, whose variable parts are anything, as is the rest."""
    path, methods = draw(st.sampled_from(ROUTES))
    method = draw(st.sampled_from([*(methods * 8), "GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"]))
    meant = {"kind": "models", "namespace": "acme", "name": "fuzz", "revision": "main", "number": "1"}

    def part(found: re.Match[str]) -> str:
        usual = meant.get(found[1])
        chosen = usual if usual is not None and draw(st.integers(0, 3)) else draw(text)
        return str(draw(st.sampled_from([quoted(chosen), quoted(chosen), chosen])))

    target = re.sub(r"\{(\w+)(?::\w+)?\}", part, path)
    asked = draw(st.lists(st.tuples(st.sampled_from(QUERIES), text), max_size=3))
    query = "&".join(f"{key}={quoted(found)}" for key, found in asked)
    raw = "".join(letter for letter in target if "!" <= letter <= "~" and letter not in "?#")
    return Sent(method, f"{raw}?{query}" if query else raw, draw(headers), draw(body))


def send(server: Server, client: Client, sent: Sent) -> int | None:
    """The status; None for what the HTTP library would not send."""
    line = HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    given = {"Authorization": f"Bearer {client.token}"} if client.token else {}
    try:
        line.request(sent.method, sent.target, sent.body, given | sent.headers)
        answer = line.getresponse()
        answer.read()
    except (ValueError, HTTPException, UnicodeError):
        return None
    finally:
        line.close()
    if answer.status >= 400 and not (answer.status == 400 and answer.getheader("x-request-id") is None):
        # The exception is what no HTTP is, which the HTTP server refuses by itself.
        assert answer.getheader("x-error-message"), sent
    return answer.status


@pytest.fixture
def people(server: Server, ann: Client, bob: Client) -> list[Client]:
    """Who asks, and a repository for them to ask about."""
    if ann.create("acme/fuzz").status == 200:
        ann.commit("acme/fuzz", file("README", b"x"), file("a/b", b"y"))
        ann.tag("acme/fuzz", "v1.0.0")
        bob.post("/api/models/acme/fuzz/discussions", {"title": "x", "pullRequest": True})
    return [ann, bob, server.anyone, server.client("ann", scope="read"), server.client("root")]


def shake(server: Server, people: list[Client], examples: int) -> None:
    before = people[0].get("/api/models/acme/fuzz/tree/v1.0.0?recursive=1").json()

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(who=st.sampled_from(people), sent=requests())
    def run(who: Client, sent: Sent) -> None:
        status = send(server, who, sent)
        assert status is None or status < 500, sent
        assert not server.failures(), sent

    run()
    assert people[0].get("/api/models/acme/fuzz/tree/v1.0.0?recursive=1").json() == before
    tree = people[0].get("/api/models/acme/fuzz/tree/main?recursive=1").json()
    files = {item["path"] for item in tree if item["type"] == "file"}
    assert not files & {item["path"] for item in tree if item["type"] == "directory"}


def test_some_requests(server: Server, people: list[Client]) -> None:
    shake(server, people, 100)


@pytest.mark.parametrize(
    "examples", [pytest.param(1500, marks=pytest.mark.slow), pytest.param(6000, marks=pytest.mark.stress)]
)
def test_many_requests(server: Server, people: list[Client], examples: int) -> None:
    shake(server, people, examples)
