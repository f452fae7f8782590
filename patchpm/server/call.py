"""One request on its way to the function that answers it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from patchpm.server.access import ANYONE, Caller
from patchpm.server.accounts import caller_of
from patchpm.server.commit_body import is_storable
from patchpm.server.history import Commit
from patchpm.server.refusal import RefusedError, malformed, no_repo, no_revision
from patchpm.server.repository import Repo
from patchpm.server.site import Site

KINDS: Final = {"models": "model", "datasets": "dataset"}
"""What repositories hold, by how paths name it."""
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """A request, with who sent it."""

    site: Site
    caller: Caller
    method: str
    base_url: str
    """Where the client sees the server, without a slash at the end."""
    path: Mapping[str, str]
    """The variable parts of the path."""
    query: QueryParams
    headers: Headers
    body: bytes

    @property
    def kind(self) -> str:
        """`model` or `dataset`."""
        return KINDS[self.path.get("kind", "models")]

    def repo(self, *, write: bool = False) -> Repo:
        """The repository that the path names, which the caller may read, and write if asked.

        Raises:
            RefusedError: 404 for one that is not there or that the caller may not know of, 401 or 403 for one that they
                may not change.
        """
        namespace, name = self.path["namespace"], self.path["name"]
        found = self.site.ledger.repo(self.kind, namespace, name)
        if found is None or (found.private and not self.caller.may_read(namespace)):
            raise no_repo(f"{namespace}/{name}")
        if write:
            self.require_write(namespace)
        return found

    def place(self) -> tuple[int, bool, Commit]:
        """Repository, whether it is private, and commit, all as the path names them and the caller may read them.

        Raises:
            RefusedError: 404.
        """
        namespace, name, revision = self.path["namespace"], self.path["name"], self.path["revision"]
        found = self.site.ledger.place(self.kind, namespace, name, revision)
        if found is None or (found.private and not self.caller.may_read(namespace)):
            raise no_repo(f"{namespace}/{name}")
        if found.commit is None:
            raise no_revision(revision)
        return found.repo, found.private, found.commit

    def require_write(self, namespace: str) -> None:
        """Refuse a caller who may not change what a namespace has.

        Raises:
            RefusedError: 401 or 403.
        """
        self.require_user()
        if not self.caller.may_write(namespace):
            raise RefusedError(403, f"You may not write to {namespace} with this token")

    def require_user(self) -> str:
        """The caller's name.

        Raises:
            RefusedError: 401 without a token.
        """
        return required(self.caller)

    def commit(self, repo: Repo) -> Commit:
        """The commit that the path's revision names; `main` where the path has none.

        Raises:
            RefusedError: 404.
        """
        revision = self.path.get("revision", "main")
        found = self.site.ledger.find(repo, revision)
        if found is None:
            raise no_revision(revision)
        return found

    def json(self) -> dict[str, Any]:
        """The body, which is a JSON object.

        Raises:
            RefusedError: 400.
        """
        try:
            found = json.loads(self.body.decode() or "{}")
        except (ValueError, RecursionError):
            raise malformed("The body is not JSON") from None
        if not isinstance(found, dict):
            raise malformed("The body is not a JSON object")
        return found

    def text(self, fields: Mapping[str, Any], key: str, default: str | None = None) -> str:
        """A field of the body that is text.

        Raises:
            RefusedError: 400.
        """
        found = fields.get(key, default)
        found = default if found is None else found
        if not isinstance(found, str) or not is_storable(found):
            raise malformed(f"{key} is missing, or no text")
        return found


Handler = Callable[[Call], Response]


class Answer:
    """An ASGI endpoint for a handler, which runs in a thread.

    Args:
        handler: Answers.
        body: Greatest body that is read.
        needs_token: Refuse requests without a token before their body is read.
        is_open: Answer everyone alike, also where the server is closed.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        body: Callable[[Site], int] | None = None,
        needs_token: bool = False,
        is_open: bool = False,
    ) -> None:
        self._handler = handler
        self._body = body
        self._needs_token = needs_token
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        if self._body is None:
            response = await run_in_threadpool(self._answer, request, b"", ANYONE if self._is_open else None)
        else:
            site = site_of(request)
            caller = await run_in_threadpool(authenticated, site, request)
            if self._needs_token:
                required(caller)
            body = b"".join([piece async for piece in pieces_of(request, self._body(site), site.limits.silence)])
            response = await run_in_threadpool(self._answer, request, body, caller)
        await response(scope, receive, send)

    def _answer(self, request: Request, body: bytes, caller: Caller | None) -> Response:
        site = site_of(request)
        call = Call(
            site=site,
            caller=caller or authenticated(site, request),
            method=request.method,
            base_url=_base_url(request),
            path={key: plain(value) for key, value in request.path_params.items()},
            query=request.query_params,
            headers=request.headers,
            body=body,
        )
        if not all(is_storable(value) for value in call.query.values()):
            raise malformed("The query has characters that no name has")
        return self._handler(call)


def site_of(request: Request) -> Site:
    """The server that a request came to."""
    site: Site = request.scope["patchpm.site"]
    return site


def authenticated(site: Site, request: Request) -> Caller:
    """Whoever sent a request.

    Raises:
        RefusedError: 401 for a token that is not good, and for none where the server is closed.
    """
    caller = caller_of(site.accounts, request.headers.get("authorization"))
    if caller is None:
        raise RefusedError(401, "Invalid credentials in Authorization header")
    request.scope["patchpm.user"] = caller.name
    if site.closed and caller.name is None:
        raise RefusedError(401, "This registry takes a token", headers={"WWW-Authenticate": "Bearer"})
    return caller


def required(caller: Caller) -> str:
    """The name of a caller who must have one.

    Raises:
        RefusedError: 401 without a token.
    """
    if caller.name is None:
        raise RefusedError(401, "This takes a token", headers={"WWW-Authenticate": "Bearer"})
    return caller.name


async def pieces_of(request: Request, limit: int, silence: float) -> AsyncIterator[bytes]:
    """The body as it comes: of bounded size, from a client that keeps sending.

    Raises:
        RefusedError: 413 or 408.
    """
    length = request.headers.get("content-length", "0")
    # Whatever of the body was not read is not waited for.
    close = {"Connection": "close"}
    too_large = RefusedError(413, f"The body is larger than {limit:,} bytes", headers=close)
    if not length.isdecimal() or len(length) > 18 or int(length) > limit:
        raise too_large
    size = 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(silence):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RefusedError(408, "The body did not arrive in time", headers=close) from None
        except ClientDisconnect:
            raise RefusedError(400, "The body is not whole", headers=close) from None
        size += len(piece)
        if size > limit:
            raise too_large
        yield piece


def plain(part: str) -> str:
    """A part of a path as it is meant.

    Raises:
        RefusedError: 400 for one that is no text.
    """
    try:
        found = unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise malformed("The path is not UTF-8") from None
    if not found.isprintable():
        raise malformed("The path has characters that no name has")
    return found


def _base_url(request: Request) -> str:
    # Clients refuse addresses of another host than the one they asked, so it is their word that counts.
    host = request.headers.get("host")
    if host is None:  # as HTTP/1.0 may; HTTP servers refuse it of later ones
        return ""
    if not _HOST.fullmatch(host):
        raise malformed("The Host header is no host")
    return f"{request.scope['scheme']}://{host}{request.scope.get('root_path', '')}"
