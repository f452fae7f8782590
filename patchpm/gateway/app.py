"""The ASGI application of a gateway: which request goes where, and what all of them have in common."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

import aiohttp
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from patchpm.gateway import guarding
from patchpm.gateway.engine_client import fetch
from patchpm.gateway.exchange import Exchange, StuckError
from patchpm.gateway.metrics import CONTENT_TYPE
from patchpm.gateway.own_statement import own_statement
from patchpm.gateway.refusal import RefusedError, engine_failed, not_served
from patchpm.gateway.relay import CHAT, relay_chat
from patchpm.gateway.site import Site
from patchpm.json_log import GATEWAY_LOG as LOG

_PATIENCE: Final = aiohttp.ClientTimeout(total=10, sock_connect=2)

Handler = Callable[[Site, Exchange], Awaitable[None]]
Open = Callable[[], AbstractAsyncContextManager[Site]]
"""Opens the site within the server's event loop, and closes it."""


def build_app(opened: Open) -> ASGIApp:
    """The application of a gateway."""
    return _Edge(opened)


def routes() -> list[BaseRoute]:
    """All that is answered; everything else is refused, since nobody knows whether patches survive it."""
    return [
        Route(CHAT, _Endpoint(relay_chat), methods=["POST"]),
        Route("/v1/models", _Endpoint(_models), methods=["GET"]),
        Route("/version", _Endpoint(_version), methods=["GET"]),
        Route("/health", _Endpoint(_health), methods=["GET"]),
        Route("/metrics", _Endpoint(_metrics), methods=["GET"]),
        Route("/.well-known/patchpm", _Endpoint(_well_known), methods=["GET"]),
    ]


class _Endpoint:
    """An ASGI endpoint of a handler."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send  # the exchange has them
        await self._handler(scope["patchpm.site"], scope["patchpm.exchange"])


class _Edge:
    """Around all: one log line and one count a request, and no traceback for a client."""

    def __init__(self, opened: Open) -> None:
        self._open = opened
        self._site: Site | None = None
        self._router = Router(routes(), redirect_slashes=False, default=_unknown, lifespan=self._running)

    @asynccontextmanager
    async def _running(self, _: object) -> AsyncIterator[None]:
        async with self._open() as self._site:
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._router
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        assert self._site is not None
        exchange = Exchange(scope, receive, send, self._site.limits.reading)
        scope["patchpm.site"], scope["patchpm.exchange"] = self._site, exchange
        try:
            with suppress(StuckError):
                await self._answered(scope, receive, send, exchange)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._site.metrics.answered(route, exchange.status or 499, exchange.first_byte)
            _log(scope, exchange)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
        try:
            await self._router(scope, receive, send)
        except StuckError:
            raise
        except RefusedError as error:
            await exchange.refuse(error)
        except HTTPException:
            await exchange.refuse(not_served(f"{scope['method']} {scope['path']}"[:200]))
        except Exception:  # the one place where a bug becomes an answer, and a traceback in the log
            LOG.exception("failed", extra={"fields": {"id": exchange.id}})
            await exchange.refuse(RefusedError(500, "internal", f"Internal error; its id is {exchange.id}"))


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)
    else:
        raise HTTPException(404)


async def _models(site: Site, exchange: Exchange) -> None:
    """The engines' list without adapters."""
    site.roster.current.tenant_of(exchange.headers.get("authorization"))
    found: dict[str, Any]
    with site.upstreams.lease() as upstream:
        if upstream.called is None:
            found = json.loads(await _fetched(site, upstream.url + "/v1/models"))
            found["data"] = [model for model in found["data"] if model.get("id") in upstream.models]
        else:
            found = {"object": "list", "data": [{"id": upstream.called, "object": "model", "owned_by": "patchpm"}]}
    await exchange.answer(200, json.dumps(found).encode())


async def _version(site: Site, exchange: Exchange) -> None:
    site.roster.current.tenant_of(exchange.headers.get("authorization"))
    with site.upstreams.lease() as upstream:
        body = await _fetched(site, upstream.url + "/version")
    await exchange.answer(200, body)


async def _fetched(site: Site, url: str) -> bytes:
    try:
        status, body = await fetch(site.client, url, _PATIENCE)
    except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
        raise engine_failed(type(error).__name__) from None
    if status != 200:
        raise engine_failed(f"it answers {status}")
    return body


async def _health(site: Site, exchange: Exchange) -> None:
    """For load balancers: whether this gateway has an engine to work with."""
    await exchange.answer(200 if site.upstreams.ready else 503, b"")


async def _metrics(site: Site, exchange: Exchange) -> None:
    page = site.metrics.page(site.upstreams.all, site.roster.current, guarding.metrics(site.upstreams.all))
    await exchange.answer(200, page, kind=CONTENT_TYPE)


async def _well_known(site: Site, exchange: Exchange) -> None:
    tenant = site.roster.current.tenant_of(exchange.headers.get("authorization"))
    await exchange.answer(200, own_statement(site, tenant, exchange.query.get("nonce")))


def _log(scope: Scope, exchange: Exchange) -> None:
    fields: dict[str, object] = {
        "id": exchange.id,
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": exchange.status or 499,
        "milliseconds": round(exchange.seconds * 1000, 2),
    }
    if exchange.shown_id != exchange.id:
        fields["client_id"] = exchange.shown_id
    if exchange.first_byte is not None:
        fields["first_byte"] = round(exchange.first_byte * 1000, 2)
    LOG.info("request", extra={"fields": fields | exchange.notes})
