"""The ASGI application of a registry server: which request goes where, and what all of them have in common."""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from patchpm.server.call import Answer, Handler
from patchpm.server.log import LOG, log_to_stderr
from patchpm.server.refusal import RefusedError
from patchpm.server.routes import accounts, commits, files, operations, pulls, refs, repos, uploads
from patchpm.server.site import Options, Site, open_site
from patchpm.settings import SERVER_LOG_LEVEL, SERVER_OPTIONS

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_REPO: Final = "/api/{kind}/{namespace}/{name}"


def of_environment() -> ASGIApp:
    """The application of one of several workers, whose options are in the environment."""
    log_to_stderr(os.environ[SERVER_LOG_LEVEL])
    return build_app(open_site(Options.from_json(os.environ[SERVER_OPTIONS])))


def build_app(site: Site) -> ASGIApp:
    """The application of an open server."""
    app = Starlette(routes=_routes(), exception_handlers={RefusedError: _refuse, 404: _unknown, 405: _unknown})
    app.state.site = site
    return _Edge(app, site)


def _routes() -> list[BaseRoute]:
    return [
        _route("GET", "/", operations.front),
        _route("GET", "/health", operations.health),
        _route("GET", "/ready", operations.ready),
        _route("GET", "/metrics", operations.metrics),
        _route("GET", "/api/agent-harnesses", operations.harnesses),
        _route("HEAD", "/api/telemetry/{topic:path}", operations.telemetry),
        _route("GET", "/api/whoami-v2", accounts.whoami),
        _route("POST", "/api/validate-yaml", commits.validate_card, body=_json),
        _route("POST", "/api/repos/create", repos.create, body=_json),
        _route("DELETE", "/api/repos/delete", repos.delete, body=_json),
        _route("GET", "/api/{kind}", repos.listing),
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
        Route("/uploads/{sha256}", uploads.receive, methods=["PUT"]),
        _route("POST", "/{namespace}/{name}.git/info/lfs/objects/batch", uploads.batch, body=_json),
        _route("POST", "/{kind}/{namespace}/{name}.git/info/lfs/objects/batch", uploads.batch, body=_json),
        _route("GET", "/{namespace}/{name}/resolve/{revision}/{path:path}", files.resolve),
        _route("GET", "/{kind}/{namespace}/{name}/resolve/{revision}/{path:path}", files.resolve),
    ]


def _route(method: str, path: str, handler: Handler, *, body: Callable[[Site], int] | None = None) -> Route:
    return Route(path, Answer(handler, body=body, needs_token=body is _commit).__call__, methods=[method])


def _json(site: Site) -> int:
    return site.limits.json


def _commit(site: Site) -> int:
    return site.limits.commit


def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return error.response()


def _unknown(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return RefusedError(status, f"This registry does not answer {request.method} {request.url.path[:200]}").response()


class _Edge:
    """Around all: paths as they were sent, one log line and one count a request, and no traceback for a client.

    Args:
        app: The application.
        site: Where requests are counted.
    """

    def __init__(self, app: Starlette, site: Site) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A branch `refs/pr/1` arrives as `refs%2Fpr%2F1`; decoded before routing, it would be three parts of the path.
        scope["path"] = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
        began = time.perf_counter()
        answer = _Seen(send, _request_id(scope))
        try:
            await self._app(scope, receive, answer)
        except Exception:
            LOG.exception("failed", extra={"fields": {"id": answer.id, "path": scope["path"][:500]}})
            if not answer.status:
                problem = RefusedError(500, f"Internal error; its id is {answer.id}").response()
                await problem(scope, receive, answer)
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
