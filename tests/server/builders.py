"""A registry server on a loopback port, in a thread, and a client that says exactly what it is told to."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from sqlalchemy import text
from uvicorn import Config

from patchpm.json_log import REGISTRY_LOG as LOG
from patchpm.json_log import JsonLines
from patchpm.server.accounts import ORG, USER
from patchpm.server.app import build_app
from patchpm.server.site import Limits, Options, Site, open_site
from tests.loopback import Loopback

SMALL_LIMITS = Limits(inline=64 * 1024, commit=512 * 1024, file=1024 * 1024, json=16 * 1024, silence=0.5)
"""So that tests of limits need no large bodies and no long waits."""
_HTTP = urllib3.PoolManager(maxsize=32, retries=False, timeout=60)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    data: bytes

    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def error(self) -> str:
        """What a client of the Hub would show; it must be there for everything that is refused."""
        assert self.status >= 400, self
        assert self.json()["error"], self
        return self.headers["x-error-message"]


@dataclass(frozen=True)
class Client:
    """Someone with a token, or without one."""

    url: str
    token: str | None = None

    def call(self, method: str, path: str, body: bytes | dict[str, Any] | None = None, /, **headers: str) -> Answer:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None:
            named.setdefault("Authorization", f"Bearer {self.token}")
        found = _HTTP.request(method, self.url + path, body=data, headers=named, redirect=False)
        return Answer(found.status, {name.lower(): value for name, value in found.headers.items()}, found.data)

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, None, **headers)

    def post(self, path: str, body: bytes | dict[str, Any]) -> Answer:
        return self.call("POST", path, body)

    def create(self, name: str, **more: Any) -> Answer:
        organisation, _, short = name.rpartition("/")
        return self.post("/api/repos/create", {"organization": organisation or None, "name": short, **more})

    def commit(self, repo: str, *changes: dict[str, Any], parent: str | None = None, at: str = "main") -> Answer:
        header = {"summary": "Change", "description": ""} | ({"parentCommit": parent} if parent else {})
        return self.post(f"/api/models/{repo}/commit/{at}", lines([{"key": "header", "value": header}, *changes]))

    def head(self, repo: str, revision: str = "main") -> str:
        return str(self.get(f"/api/models/{repo}/revision/{revision}").json()["sha"])

    def tag(self, repo: str, tag: str, revision: str = "main") -> Answer:
        return self.post(f"/api/models/{repo}/tag/{revision}", {"tag": tag})

    def upload(self, repo: str, data: bytes) -> str:
        """Bring a large file; returns its digest."""
        sha256 = hashlib.sha256(data).hexdigest()
        wanted = {"operation": "upload", "objects": [{"oid": sha256, "size": len(data)}]}
        (found,) = self.post(f"/{repo}.git/info/lfs/objects/batch", wanted).json()["objects"]
        if "actions" in found:
            path = found["actions"]["upload"]["href"].removeprefix(self.url)
            assert Client(self.url).call("PUT", path, data).status == 200
        return sha256


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@dataclass
class Server:
    """A server that is running. `ann` may manage the organisation `acme`, `bob` is someone else, `root` runs it all."""

    site: Site
    url: str
    records: list[logging.LogRecord] = field(default_factory=list)
    clients: dict[str, Client] = field(default_factory=dict)

    def client(self, user: str, **token: Any) -> Client:
        return Client(self.url, self.site.accounts.issue(user, "test", **({"scope": "write"} | token))[1])

    def known(self, user: str) -> Client:
        """Someone with a token that they had before."""
        if user not in self.clients:
            self.clients[user] = self.client(user)
        return self.clients[user]

    @property
    def anyone(self) -> Client:
        return Client(self.url)

    def repo(self, ann: Client, **files: str) -> str:
        """The name of a new repository, with files by name."""
        name = f"acme/r-{os.urandom(5).hex()}"
        assert ann.create(name).status == 200
        if files:
            changes = [file(path.replace("__", "/"), data.encode()) for path, data in files.items()]
            assert ann.commit(name, *changes).status == 200
        return name

    def sql(self, statement: str, **values: Any) -> Sequence[Any]:
        """Run a statement on the database, past the server."""
        with self.site.engine.connect().execution_options(writing=True) as db, db.begin():
            found = db.execute(text(statement), values)
            return found.all() if found.returns_rows else []

    def logged(self, answer: Answer) -> dict[str, Any]:
        """The log line of an answer, which is written once the client has it."""
        while True:
            for record in list(self.records):
                fields: dict[str, Any] = record.__dict__.get("fields", {})
                if record.getMessage() == "request" and fields["id"] == answer.headers["x-request-id"]:
                    return fields | {"line": JsonLines().format(record)}
            time.sleep(0.001)

    def failures(self) -> list[str]:
        """What the server says went wrong with itself."""
        return [str(record.exc_info or record.getMessage()) for record in self.records if record.levelno > logging.INFO]


@contextmanager
def serving(options: Options) -> Iterator[Server]:
    """Run a server with some accounts."""
    site = open_site(options)
    if site.accounts.is_empty():
        site.accounts.add(USER, "root", is_admin=True)
        site.accounts.add(USER, "ann")
        site.accounts.add(USER, "bob")
        site.accounts.add(ORG, "acme")
        site.accounts.set_member("acme", "ann", "admin")
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    # As the command does it, but for the signals.
    config = Config(
        build_app(site),
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    running = Loopback(config, grace=5)
    made = Server(site, f"http://127.0.0.1:{listening.getsockname()[1]}")
    handler = _Kept(made.records)
    LOG.addHandler(handler)
    before = LOG.level
    LOG.setLevel("INFO")
    try:
        with running.running(listening):
            while not running.started:
                time.sleep(0.01)
            yield made
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(before)
        site.engine.dispose()


def options_in(folder: Path, database: str | None = None, **more: Any) -> Options:
    """Everything in one folder, unless a database is named."""
    folder.mkdir(exist_ok=True)
    where = database or f"sqlite:///{folder / 'registry.db'}"
    given: dict[str, Any] = {"database": where, "store": str(folder / "blobs"), "limits": SMALL_LIMITS}
    return Options(**(given | more))


def lines(items: Sequence[object]) -> bytes:
    """The body of a commit."""
    return b"\n".join(json.dumps(item).encode() for item in items)


def file(path: str, data: bytes) -> dict[str, Any]:
    """A file in a commit."""
    content = base64.b64encode(data).decode()
    return {"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}}


def large_file(path: str, sha256: str) -> dict[str, Any]:
    """A file in a commit that was uploaded before."""
    return {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": sha256, "size": 1}}


def deleted(path: str) -> dict[str, Any]:
    """A file that goes; a folder, if it ends with a slash."""
    return {"key": "deletedFolder" if path.endswith("/") else "deletedFile", "value": {"path": path}}
