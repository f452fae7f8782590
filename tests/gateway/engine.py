"""A small engine that behaves as vLLM's chat endpoint does, as far as a gateway can see; for quick tests.

It reads embeddings as vLLM does, renders the template of `engine_template` with a placeholder for them, and counts.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import torch
from jinja2.exceptions import TemplateError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from patchpm.gateway.engine_template import PLACEHOLDER
from tests.model import tiny


@dataclass
class Engine:
    """What an engine is told to do, and what it was sent."""

    template: str
    """Chat template that it was started with."""
    url: str = ""
    words: tuple[str, ...] = ("Hello", " there", ".")
    pause: float = 0.0
    """Seconds before each word of a stream, or before the whole answer; it is waited for no longer once this is 0."""
    dies_after: int | None = None
    """Words of a stream after which the connection breaks."""
    strips: bool = False
    """Whether it drops embeddings without a word, as an engine with another template would."""
    fails: tuple[int, dict[str, Any]] | None = None
    """Status and body of every answer to a chat."""
    healthy: bool = True
    models: tuple[dict[str, Any], ...] = ({"id": "base", "object": "model", "parent": None},)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    rows: list[torch.Tensor] = field(default_factory=list)
    """Embeddings of each chat, joined."""
    prompts: list[str] = field(default_factory=list)
    """What each chat was rendered to, with placeholders."""
    cancelled: int = 0
    """Streams whose client went away."""
    sent: int = 0
    """Words sent in streams."""

    def __post_init__(self) -> None:
        self._tokenizer = tiny.tokenizer(self.template)
        self._tokenizer.add_special_tokens({"additional_special_tokens": [PLACEHOLDER]})

    def as_new(self) -> None:
        """Forget what it was told and sent."""
        vars(self).update(vars(Engine(self.template, self.url)))

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/models", self._list, methods=["GET"]),
                Route("/health", self._health, methods=["GET"]),
                Route("/version", self._version, methods=["GET"]),
            ]
        )

    @property
    def chats(self) -> list[dict[str, Any]]:
        """What it was sent, without the probes of a gateway that looks whether it may be used."""
        return [body for body in self.bodies if body.get("max_tokens") != 1]

    async def _health(self, _: Request) -> Response:
        return Response(status_code=200 if self.healthy else 503)

    async def _version(self, _: Request) -> Response:
        return JSONResponse({"version": "0.32.0"})

    async def _list(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": list(self.models)})

    async def _chat(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if self.fails is not None:
            return JSONResponse(self.fails[1], self.fails[0])
        try:
            count = self._count(body)
        except TemplateError as error:
            return JSONResponse({"error": {"message": str(error), "type": "BadRequestError", "code": 400}}, 400)
        if not body.get("stream") and self.dies_after is not None and body.get("max_tokens") != 1:
            return StreamingResponse(_broken(), media_type="application/json")
        if not body.get("stream"):
            await self._paused()
            return JSONResponse(self._whole(body, count))
        asked = (body.get("stream_options") or {}).get("include_usage")
        return StreamingResponse(self._events(count, include_usage=bool(asked)), media_type="text/event-stream")

    async def _paused(self) -> None:
        end = time.monotonic() + self.pause
        await asyncio.sleep(0)
        while self.pause and time.monotonic() < end:
            await asyncio.sleep(0.01)

    def _count(self, body: dict[str, Any]) -> int:
        rows: list[torch.Tensor] = []
        messages = [self._message(message, rows) for message in body["messages"]]
        text = self._tokenizer.apply_chat_template(
            messages, tools=body.get("tools"), tokenize=False, add_generation_prompt=True
        )
        self.prompts.append(text)
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        self.rows.append(torch.cat(rows) if rows else torch.empty(0))
        return len(ids) + sum(len(part) - 1 for part in rows)

    def _message(self, message: dict[str, Any], rows: list[torch.Tensor]) -> dict[str, Any]:
        content = message.get("content") or []
        parts: list[dict[str, Any]] = []
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] != "prompt_embeds":
                parts.append({"type": "text", "text": part["text"]})
            elif not self.strips:
                rows.append(torch.load(io.BytesIO(base64.b64decode(part["data"], validate=True)), weights_only=True))
                parts.append({"type": "text", "text": PLACEHOLDER})
        return {**message, "content": parts}

    def _whole(self, body: dict[str, Any], count: int) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self.words)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": count, "completion_tokens": 3, "total_tokens": count + 3}
        return {"object": "chat.completion", "model": body.get("model"), "choices": [choice], "usage": usage}

    async def _events(self, count: int, *, include_usage: bool) -> AsyncIterator[bytes]:
        try:
            for number, word in enumerate(self.words):
                if number == self.dies_after:
                    raise RuntimeError("the engine dies")
                await self._paused()
                yield _event({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
                self.sent += 1
            if include_usage:
                usage = {"prompt_tokens": count, "completion_tokens": 3, "total_tokens": count + 3}
                yield _event({"choices": [], "usage": usage})
            yield b"data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def _event(fields: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"object": "chat.completion.chunk", **fields}).encode() + b"\n\n"


async def _broken() -> AsyncIterator[bytes]:
    yield b"{"
    raise RuntimeError("the engine dies")
