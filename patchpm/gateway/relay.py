"""A chat completion on its way: to the engine with its patches, and back with the proof that they were counted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from patchpm.gateway.chat_request import check_model, read_chat_request
from patchpm.gateway.engine_client import whole
from patchpm.gateway.event_stream import BrokenStreamError, EventStream
from patchpm.gateway.exchange import Exchange, Headers
from patchpm.gateway.refusal import RefusedError, engine_failed, engine_silent, wrong_count
from patchpm.gateway.roster import Tenant
from patchpm.gateway.site import Site
from patchpm.gateway.upstreams import Upstream
from patchpm.json_log import GATEWAY_LOG as LOG

if TYPE_CHECKING:
    from aiohttp import ClientResponse

CHAT: Final = "/v1/chat/completions"
_FORWARDED: Final = ("accept", "traceparent", "tracestate", "user-agent")
"""Headers of a request that an engine sees. The client's key is not among them."""
_OURS: Final = frozenset({
    *("connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer", "transfer-encoding"),
    *("upgrade", "content-length", "content-encoding", "date", "server", "x-request-id"),
})  # fmt: skip
"""Headers of an answer that are of one connection, or that this server writes itself."""


class _MovedError(Exception):
    """The engines have gone on to another patch set since the request was made ready; it is made ready again."""


_LAST_WORD: Final = 1.0
"""Seconds that an engine has to end an answer after it said that this was all."""
_BROKEN: Final = (aiohttp.ClientError, ConnectionError, TimeoutError, BrokenStreamError)


async def relay_chat(site: Site, exchange: Exchange) -> None:
    """Answer a chat completion.

    Raises:
        RefusedError: Where the answer has not begun; after that, errors are sent as its end.
    """
    key = exchange.headers.get("authorization")
    exchange.notes["tenant"] = site.roster.current.tenant_of(key).name
    limits = site.limits
    kind = exchange.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(415, "unsupported_media_type", "The body must be application/json")
    if exchange.headers.get("content-encoding", "identity") != "identity":
        raise RefusedError(415, "unsupported_encoding", "The body must not be compressed")
    body = await exchange.body(limits.body, limits.silence, limits.upload)
    work = asyncio.ensure_future(_chat(site, exchange, key, read_chat_request(body), len(body)))
    gone = asyncio.ensure_future(exchange.gone())
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        else:
            exchange.notes["client"] = "left"
    finally:
        # Whoever ends this ends the engine's work as well: its connection is closed.
        work.cancel()
        gone.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


async def _chat(site: Site, exchange: Exchange, key: str | None, request: dict[str, Any], size: int) -> None:
    """Answer with the patches that hold once the whole request is there."""
    while True:
        with contextlib.suppress(_MovedError):
            await _Chat(site, exchange, site.roster.current.tenant_of(key), request, size).run()
            return


class _Chat:
    """One chat completion of one tenant."""

    def __init__(self, site: Site, exchange: Exchange, tenant: Tenant, request: dict[str, Any], size: int) -> None:
        self._site = site
        self._exchange = exchange
        self._injection = tenant.injection
        self._size = size
        patches = tenant.injection.patches
        self._headers: Headers = [
            (b"x-patchpm-set", str(patches.digest).encode()),
            (b"x-patchpm-tokens", str(patches.tokens).encode()),
        ]
        exchange.notes["set"] = str(patches.digest)
        self._request = self._injection.prepared(request)
        options = request.get("stream_options") or {}
        self._hide_usage = bool(request.get("stream")) and not options.get("include_usage")
        if self._hide_usage:
            self._request["stream_options"] = {**options, "include_usage": True}

    async def run(self) -> None:
        body = self._injection.body(self._request)
        expecting = self._site.counting.expected(self._injection, self._request, self._size)
        try:
            if self._request.get("chat_template_kwargs") or self._request.get("documents"):
                await expecting  # these can move the anchor, so the engine does not see them before they are checked
            await self._through(body, expecting)
        finally:
            expecting.cancel()
            await asyncio.gather(expecting, return_exceptions=True)

    async def _through(self, body: bytes, expecting: asyncio.Future[int | None]) -> None:
        """Send it to an engine; to another one where the first cannot be reached."""
        tried: list[Upstream] = []
        sent = False
        while True:
            with self._site.upstreams.lease(tried) as upstream:
                if upstream.set not in (None, self._injection.patches.digest):
                    raise _MovedError
                self._exchange.notes["engine"] = upstream.url
                check_model(self._request, upstream.models)
                data = body if upstream.called is None else self._injection.body(upstream.addressed(self._request))
                try:
                    async with self._site.client.post(
                        upstream.url + CHAT, data=data, headers=self._sent_headers(), allow_redirects=False
                    ) as answer:
                        await self._deliver(answer, expecting)
                    return
                except aiohttp.SocketTimeoutError:
                    upstream.suspect = True  # one request that takes too long is not the end of an engine
                    upstream.woken.set()
                    await self._broken(engine_silent())
                    return
                except _BROKEN as error:
                    why = _shown(error)
                    # A request that an engine has read may be what it died of: one more gets it, not all.
                    reached = not isinstance(error, aiohttp.ClientConnectorError)
                    if not self._exchange.status and not sent and _was_closed(error):
                        upstream.woken.set()  # an unused connection may have ended just now: it is asked once more
                    else:
                        self._site.upstreams.failed(upstream, why)
                        tried.append(upstream)
                    if self._exchange.status or (sent and reached):
                        await self._broken(engine_failed(why))
                        return
                    sent = sent or reached
                    self._site.metrics.retried()

    async def _broken(self, error: RefusedError) -> None:
        self._site.metrics.broken()
        await self._exchange.refuse(error)

    def _sent_headers(self) -> dict[str, str]:
        found = {name: self._exchange.headers[name] for name in _FORWARDED if name in self._exchange.headers}
        return found | {"content-type": "application/json", "x-request-id": self._exchange.id}

    async def _deliver(self, answer: ClientResponse, expecting: asyncio.Future[int | None]) -> None:
        headers = [
            (name.lower(), value) for name, value in answer.raw_headers if name.lower().decode("latin-1") not in _OURS
        ]
        headers += self._headers
        if answer.status < 400 and answer.content_type == "text/event-stream":
            expected = await expecting
            await self._exchange.start(answer.status, headers)
            self._exchange.streams = True
            await self._stream(answer, expected)
            return
        body = await whole(answer, self._site.limits.answer)
        if answer.status < 400:
            error = self._checked(await expecting, _counted(body))
            if error is not None:
                raise error
        await self._exchange.start(answer.status, [*headers, (b"content-length", str(len(body)).encode())])
        await self._exchange.write(body, more=False)

    async def _stream(self, answer: ClientResponse, expected: int | None) -> None:
        events = EventStream(self._hide_usage)
        async for data in answer.content.iter_any():
            passed = events.feed(data)
            if passed:
                await self._exchange.write(passed, more=True)
            if events.done:
                break
        if not events.done and not events.failed:
            raise BrokenStreamError("its answer has no end")
        unchecked = events.failed and events.prompt_tokens is None
        error = None if unchecked else self._checked(expected, events.prompt_tokens)
        if error is not None:
            await self._exchange.refuse(error)
        else:
            await self._exchange.write(b"data: [DONE]\n\n" if events.done else b"", more=False)
        with contextlib.suppress(*_BROKEN):  # a connection whose answer is at its end can be used again
            async with asyncio.timeout(_LAST_WORD):
                await answer.content.readany()

    def _checked(self, expected: int | None, found: int | None) -> RefusedError | None:
        """Hold what the engine counted against what it had to; what to answer where it is wrong."""
        self._exchange.notes |= {"prompt_tokens": found}
        if expected is not None and expected == found:
            self._site.metrics.checked("right")
            return None
        self._site.metrics.checked("unknown" if expected is None or found is None else "wrong")
        fields = {"id": self._exchange.id, "expected": expected, "found": found, **self._exchange.notes}
        LOG.error("wrong count", extra={"fields": fields})
        return wrong_count(expected, found) if self._site.policy == "fail" else None


def _counted(body: bytes) -> int | None:
    try:
        found: Any = json.loads(body)
    except ValueError:
        return None
    usage = found.get("usage") if isinstance(found, Mapping) else None
    count = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) else None


def _was_closed(error: BaseException) -> bool:
    """Whether a connection ended before anything came back over it."""
    reset = isinstance(error, OSError) and error.errno in (errno.ECONNRESET, errno.EPIPE)
    return reset or isinstance(error, aiohttp.ServerDisconnectedError)


def _shown(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return str(error)[:200] or type(error).__name__
