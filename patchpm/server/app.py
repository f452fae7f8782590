"""The ASGI application of a registry server: which request goes where, and what all of them have in common."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from patchpm.json_log import REGISTRY_LOG as LOG
from patchpm.json_log import log_to_stderr
from patchpm.server.call import KINDS, Answer, Handler
from patchpm.server.refusal import RefusedError, refusal_of
from patchpm.server.routes import accounts, commits, files, operations, pulls, refs, repos, uploads
from patchpm.server.site import Options, Site, open_site
from patchpm.settings import SERVER_LOG_LEVEL, SERVER_OPTIONS

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_REPO: Final = "/api/{kind:kind}/{namespace}/{name}"


def of_environment() -> ASGIApp:
    """The application of one of several workers, whose options are in the environment."""
    log_to_stderr(LOG, os.environ[SERVER_LOG_LEVEL])
    return build_app(open_site(Options.from_json(os.environ[SERVER_OPTIONS])))


def build_app(site: Site) -> ASGIApp:
    """The application of an open server."""

    @asynccontextmanager
    async def running(_: object) -> AsyncIterator[None]:
        counting = asyncio.create_task(site.downloads.keep())
        try:
            yield
        finally:
            counting.cancel()
            await run_in_threadpool(site.downloads.flush)

    router = Router(routes(), redirect_slashes=False, default=_unknown, lifespan=running)
    return _Edge(router, site)


def routes() -> list[BaseRoute]:
    """What is answered. Downloads come first, since there are most of them."""
    return [
        _route("GET", "/{kind:kind}/{namespace}/{name}/resolve/{revision}/{path:path}", files.resolve),
        _route("GET", "/{namespace}/{name}/resolve/{revision}/{path:path}", files.resolve),
        _open("GET", "/", operations.front),
        _open("GET", "/health", operations.health),
        _open("GET", "/ready", operations.ready),
        _route("GET", "/metrics", operations.metrics),
        _open("GET", "/api/agent-harnesses", operations.harnesses),
        _open("HEAD", "/api/telemetry/{topic:path}", operations.telemetry),
        _route("GET", "/api/whoami-v2", accounts.whoami),
        _route("POST", "/api/validate-yaml", commits.validate_card, body=_json),
        _route("POST", "/api/repos/create", repos.create, body=_json),
        _route("DELETE", "/api/repos/delete", repos.delete, body=_json),
        _route("GET", "/api/{kind:kind}", repos.listing),
        _route("GET", _REPO, repos.info),
        _route("GET", _REPO + "/revision/{revision}", repos.info),
        _route("PUT", _REPO + "/settings", repos.settings, body=_json),
        _route("GET", _REPO + "/tree/{revision}", files.tree),
        _route("GET", _REPO + "/tree/{revision}/{path:path}", files.tree),
        _route("POST", _REPO + "/paths-info/{revision}", files.paths_info, body=_json),
        _route("GET", _REPO + "/refs", refs.listing),
        _route("GET", _REPO + "/commits/{revision}", refs.history),
        _route("POST", _REPO + "/tag/{revision}", refs.add_tag, body=_json),
        _route("DELETE", _REPO + "/tag/{tag}", refs.remove_tag),
        _route("POST", _REPO + "/branch/{branch}", refs.add_branch, body=_json),
        _route("DELETE", _REPO + "/branch/{branch}", refs.remove_branch),
        _route("POST", _REPO + "/preupload/{revision}", commits.preupload, body=_commit),
        _route("POST", _REPO + "/commit/{revision}", commits.commit, body=_commit),
        _route("GET", _REPO + "/discussions", pulls.listing),
        _route("POST", _REPO + "/discussions", pulls.create, body=_json),
        _route("GET", _REPO + "/discussions/{number}", pulls.details),
        _route("POST", _REPO + "/discussions/{number}/comment", pulls.comment, body=_json),
        _route("POST", _REPO + "/discussions/{number}/status", pulls.set_status, body=_json),
        _route("POST", _REPO + "/discussions/{number}/merge", pulls.merge, body=_json),
        Route("/uploads/{sha256}", uploads.Receiver(), methods=["PUT"]),
        _route("POST", "/{kind:kind}/{namespace}/{name}.git/info/lfs/objects/batch", uploads.batch, body=_json),
        _route("POST", "/{namespace}/{name}.git/info/lfs/objects/batch", uploads.batch, body=_json),
    ]


def _route(method: str, path: str, handler: Handler, *, body: Callable[[Site], int] | None = None) -> Route:
    return Route(path, Answer(handler, body=body, needs_token=body is _commit), methods=[method])


def _open(method: str, path: str, handler: Handler) -> Route:
    return Route(path, Answer(handler, is_open=True), methods=[method])


def _json(site: Site) -> int:
    return site.limits.json


def _commit(site: Site) -> int:
    return site.limits.commit


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)
    else:
        raise HTTPException(404)


class _Kind(Convertor[str]):
    """The part of a path that says what repositories hold."""

    regex = "|".join(KINDS)

    def convert(self, value: str) -> str:
        """It stays text."""
        return value

    def to_string(self, value: str) -> str:
        """It is text."""
        return value


register_url_convertor("kind", _Kind())


class _Edge:
    """Around all: paths as they were sent, one log line and one count a request, and no traceback for a client.

    Args:
        app: The application.
        site: Where requests are counted.
    """

    def __init__(self, app: Router, site: Site) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._app
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["patchpm.site"] = self._site
        # A branch `refs/pr/1` arrives as `refs%2Fpr%2F1`; decoded before routing, it would be three parts of the path.
        scope["path"] = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
        began = time.perf_counter()
        answer = _Seen(send, _request_id(scope))
        try:
            await self._app(scope, receive, answer)
        except Exception as error:  # the one place where a bug becomes an answer, and a traceback in the log
            refused = refusal_of(error, f"{scope['method']} {scope['path']}")
            if refused is None or refused.status >= 500 or answer.status:
                LOG.exception("failed", extra={"fields": {"id": answer.id, "path": scope["path"][:500]}})
            if not answer.status:
                refused = refused or RefusedError(500, f"Internal error; its id is {answer.id}")
                await refused.response()(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "none")
            self._site.metrics.answered(scope["method"], route, answer.status, seconds, answer.sent)
            _log(scope, answer, seconds)


class _Seen:
    """A `send` that remembers what went through it."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.id = request_id
        self.status = 0
        self.sent = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.id.encode())]
        else:
            self.sent += len(message.get("body", b""))
        await self._send(message)


def _request_id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _log(scope: Scope, answer: _Seen, seconds: float) -> None:
    if not LOG.isEnabledFor(logging.INFO):
        return
    client = scope.get("client")
    fields = {
        "id": answer.id,
        "method": scope["method"],
        "path": scope["path"][:500],
        "status": answer.status,
        "milliseconds": round(seconds * 1000, 2),
        "bytes": answer.sent,
        "user": scope.get("patchpm.user"),
        "client": client[0] if client else None,
    }
    LOG.info("request", extra={"fields": fields})
