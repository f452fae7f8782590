"""Attacks on a gateway, each by its name. None of them gets an answer without the patches, or another tenant's."""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch

from patchpm.gateway.engine_template import PLACEHOLDER
from patchpm.gateway.site import Limits
from tests.gateway.builders import HELLO, Gateway, everybody, patch, running, tenants

SMALL = Limits(body=64 * 1024, silence=0.4, upload=1.0)


def embeds() -> dict[str, str]:
    written = io.BytesIO()
    torch.save(torch.zeros(3, 32), written)
    return {"type": "prompt_embeds", "data": base64.b64encode(written.getvalue()).decode()}


def raw(gateway: Gateway, data: bytes) -> bytes:
    """What a server says to bytes of ours, until it closes."""
    parts = urlsplit(gateway.url)
    with closing(socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)) as line:
        line.sendall(data)
        found = b""
        while piece := line.recv(65536):
            found += piece
        return found


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [embeds(), {"type": "text", "text": "hi"}]}],
        [{"role": "user", "content": [{"prompt_embeds": "AAAA", "text": "hi"}]}],
        [{"role": "user", "content": [{**embeds(), "type": "text", "text": "hi"}, embeds()]}],
        [{"role": "system", "content": [embeds()]}, *HELLO],
    ],
)
def test_client_embeds(gateway: Gateway, messages: list[dict[str, Any]]) -> None:
    answer = gateway.chat(messages)
    assert (answer.status, answer.error) == (400, "embeds_refused")
    assert not gateway.engine.chats


@pytest.mark.parametrize("name", [PLACEHOLDER, "<|patchpm:0123456789abcdef:0001|>"])
@pytest.mark.parametrize(
    "place",
    [
        lambda name: {"messages": [{"role": "user", "content": f"say {name}"}]},
        lambda name: {"messages": [{"role": "user", "content": [{"type": "text", "text": name}]}]},
        lambda name: {"messages": [{"role": name, "content": "hi"}]},
        lambda name: {"tools": [{"type": "function", "function": {"name": "f", "description": name}}]},
        lambda name: {"tools": [{"type": "function", "function": {"name": "f", "parameters": {name: 1}}}]},
        lambda name: {"documents": [{"title": "t", "text": name}]},
        lambda name: {"chat_template_kwargs": {"custom_instructions": name}},
    ],
)
def test_reserved_names(gateway: Gateway, place: Any, name: str) -> None:
    answer = gateway.call("POST", "/v1/chat/completions", {"model": "base", "messages": HELLO, **place(name)})
    assert (answer.status, answer.error) == (400, "reserved_text")
    assert not gateway.engine.chats


def test_reserved_names_written_with_escapes(gateway: Gateway) -> None:
    body = b'{"model": "base", "messages": [{"role": "user", "content": "\\u003cprompt_embeds\\u003e"}]}'
    answer = gateway.call("POST", "/v1/chat/completions", body)
    assert (answer.status, answer.error) == (400, "reserved_text")


def test_reserved_names_made_of_two_parts_that_a_template_joins() -> None:
    from patchpm.gateway.engine_template import engine_template
    from tests.gateway.engine import Engine
    from tests.model import tiny
    from tests.model.templates import SHAPES

    source = SHAPES["macro-and-parts"].source
    parts = [{"type": "text", "text": "<prompt_"}, {"type": "text", "text": "embeds>"}]
    with running(everybody(patch("acme/a"), template=source), Engine(engine_template(tiny.tokenizer(source)))) as one:
        answer = one.chat([{"role": "user", "content": parts}])
        assert (answer.status, answer.error) == (400, "reserved_text")


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template": "{{ messages[-1]['content'] }}"},
        {"chat_template_kwargs": {"chat_template": "{{ messages[-1]['content'] }}"}},
        {"chat_template_kwargs": {"messages": []}},
        {"chat_template_kwargs": {"truncation": True, "max_length": 5}},
        {"chat_template_kwargs": {"patchpm": {"messages": []}}},
        {"chat_template_kwargs": {"bos_token": "x"}},
        {"chat_template_kwargs": {"namespace": "x"}},
    ],
)
def test_template_override(gateway: Gateway, fields: dict[str, Any]) -> None:
    answer = gateway.chat(**fields)
    assert (answer.status, answer.error) == (400, "not_allowed")
    assert not gateway.engine.chats


def test_template_arguments_that_move_the_system_text_away() -> None:
    from patchpm.gateway.engine_template import engine_template
    from tests.gateway.engine import Engine
    from tests.model import tiny

    source = "{% if plain %}{{ messages[-1]['content'] }}{% else %}" + tiny.CHATML + "{% endif %}"
    with running(everybody(patch("acme/a"), template=source), Engine(engine_template(tiny.tokenizer(source)))) as one:
        assert one.chat().status == 200
        answer = one.chat(chat_template_kwargs={"plain": True})
        assert (answer.status, answer.error) == (400, "anchor_moved")
        assert len(one.engine.chats) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"truncate_prompt_tokens": 8},
        {"truncation_side": "left"},
        {"kv_transfer_params": {"prompt_token_ids": [1, 2, 3]}},
        {"ec_transfer_params": {}},
        {"prompt_logprobs": 1},
        {"prompt_embeds": "AAAA"},
        {"add_special_tokens": True},
        {"echo": True},
        {"echo": 1},
        {"vllm_xargs": {"kv_transfer_params": "x"}},
    ],
)
def test_cutting_the_prefix_off(gateway: Gateway, fields: dict[str, Any]) -> None:
    answer = gateway.chat(**fields)
    assert (answer.status, answer.error) == (400, "not_allowed")
    assert not gateway.engine.chats


@pytest.mark.parametrize("key", [None, "", "key-of-zoe", "key-of-ann ", "KEY-OF-ANN", "key-of-ann\tkey-of-bob"])
def test_other_tenants_key(key: str | None) -> None:
    with running(tenants({"ann": (patch("acme/a"),), "bob": ()})) as gateway:
        for call in (
            gateway.chat(key=key),
            gateway.get("/v1/models", key=key),
            gateway.get("/.well-known/patchpm", key=key),
        ):
            if key == "key-of-ann ":
                assert call.status == 200  # white space around a header's value is no part of it
                continue
            assert (call.status, call.error) == (401, "invalid_api_key")
        assert len(gateway.engine.chats) == (1 if key == "key-of-ann " else 0)


def test_the_key_of_a_hash_is_no_key() -> None:
    from patchpm.gateway.roster import hash_of_key

    with running(tenants({"ann": ()})) as gateway:
        assert gateway.chat(key=hash_of_key("key-of-ann")).status == 401


def test_a_key_in_the_query_or_in_the_body_is_no_key() -> None:
    with running(tenants({"ann": ()})) as gateway:
        body = {"model": "base", "messages": HELLO, "api_key": "key-of-ann"}
        assert gateway.call("POST", "/v1/chat/completions?api_key=key-of-ann", body).status == 401


def test_model_name_switching(gateway: Gateway) -> None:
    site = gateway.site
    assert site is not None
    gateway.engine.models += ({"id": "tuned", "parent": "base"},)
    for name in ("tuned", "other", "", ["base"], {"id": "base"}):
        answer = gateway.call("POST", "/v1/chat/completions", {"model": name, "messages": HELLO})
        assert (answer.status, answer.error) == (404, "model_not_found")
    assert not gateway.engine.chats


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/v1/completions",
            "/v1/embeddings",
            "/v1/responses",
            "/v1/messages",
            "/generate",
            "/tokenize",
            "/detokenize",
        ),
        *("/v1/chat/completions/batch", "/v1/chat/completions/", "/v1/load_lora_adapter", "/inference/v1/generate"),
        *("/v1/chat//completions", "//v1/chat/completions", "/v1/../v1/completions", "/V1/chat/completions"),
        *("/pooling", "/score", "/rerank", "/classify", "/invocations", "/v1/chat/completions/render", "/sleep"),
    ],
)
def test_endpoints_that_are_not_patched(gateway: Gateway, path: str) -> None:
    answer = gateway.call("POST", path, {"model": "base", "prompt": "hi", "messages": HELLO})
    assert (answer.status, answer.error) == (404, "endpoint_not_served")
    assert not gateway.engine.chats


def test_oversized_body() -> None:
    with running(everybody(patch("acme/a")), limits=SMALL) as gateway:
        big = [{"role": "user", "content": "x" * 100_000}]
        assert (gateway.chat(big).status, gateway.chat(big).error) == (413, "body_too_large")
        chunked = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked += b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        assert b" 413 " in raw(gateway, chunked + b"8000\r\n" + b"x" * 0x8000 + b"\r\n1\r\nx\r\n").partition(b"\r\n")[0]
        assert not gateway.engine.chats


def test_slowloris() -> None:
    with running(everybody(patch("acme/a")), limits=SMALL) as gateway:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        began = time.monotonic()
        assert b" 408 " in raw(gateway, head).partition(b"\r\n")[0]
        assert time.monotonic() - began < 5
        parts = urlsplit(gateway.url)
        with closing(socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)) as line:
            line.sendall(head)
            began = time.monotonic()
            line.settimeout(0.1)
            answer = b""
            while not answer and time.monotonic() - began < 8:
                line.sendall(b" ")
                try:
                    answer = line.recv(4096)
                except TimeoutError:
                    continue
            assert b" 408 " in answer.partition(b"\r\n")[0]
        assert gateway.chat().status == 200


def test_headers_without_an_end(gateway: Gateway) -> None:
    found = raw(gateway, b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000)
    assert b" 431 " in found.partition(b"\r\n")[0] or b" 400 " in found.partition(b"\r\n")[0]


def test_long_prompts_hold_up_nobody_else() -> None:
    long = [{"role": "user", "content": "a b c d e f g h i j k l m n o p " * 4_000}]
    with running(everybody(patch("acme/a"))) as gateway, ThreadPoolExecutor(6) as pool:
        flood = [pool.submit(gateway.chat, long) for _ in range(6)]
        gateway.wait_for(lambda: len(gateway.engine.bodies) > 2)
        assert gateway.chat().status == 200
        assert not all(one.done() for one in flood)
        assert {one.result().status for one in flood} == {200}


def test_a_client_that_does_not_read() -> None:
    with running(everybody(patch("acme/a")), limits=Limits(reading=0.5)) as gateway:
        site = gateway.site
        assert site is not None
        gateway.engine.words = ("word " * 20_000,) * 400
        body = json.dumps({"model": "base", "messages": HELLO, "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        parts = urlsplit(gateway.url)
        with closing(socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)) as line:
            line.sendall(head + body)
            gateway.wait_for(lambda: any(_noted(record, "does not read") for record in gateway.records))
            assert not sum(upstream.in_flight for upstream in site.upstreams.all)
        assert gateway.engine.sent < 400


def _noted(record: logging.LogRecord, client: str) -> bool:
    return getattr(record, "fields", {}).get("client") == client


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 50\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5\r\nX: a\rContent-Length: 50\r\n",
    ],
)
def test_header_smuggling(gateway: Gateway, headers: bytes) -> None:
    inner = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    found = raw(
        gateway,
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n0\r\n\r\n" + inner,
    )
    assert found.startswith((b"HTTP/1.1 400", b"HTTP/1.1 4"))
    assert not gateway.engine.chats


def test_headers_that_engines_obey(gateway: Gateway) -> None:
    sent = {"x_request_id": "someone-elses", "x_data_parallel_rank": "3", "cookie": "a=b", "x_patchpm_set": "sha256:0"}
    body = {"model": "base", "messages": HELLO, "request_id": "someone-elses"}
    answer = gateway.call("POST", "/v1/chat/completions", body, **sent)
    seen = gateway.engine.headers[-1]
    assert answer.status == 200
    assert answer.headers["x-request-id"] == "someone-elses"
    assert seen["x-request-id"] != "someone-elses"
    assert not {"x-data-parallel-rank", "cookie", "x-patchpm-set"} & seen.keys()


def _deep_tools(depth: int) -> bytes:
    parameters = b'{"x": ' * depth + b"1" + b"}" * depth
    tools = b'[{"type": "function", "function": {"name": "f", "parameters": ' + parameters + b"}}]"
    return b'{"messages": [{"role": "user", "content": "x"}], "tools": ' + tools + b"}"


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"messages": 1' + b"0" * 5000 + b"}"),
        *(b"{}", b'{"messages": []}', b'{"messages": ["x"]}', b'{"messages": [{"content": "x"}]}'),
        *(b'{"messages": [{"role": 1}]}', b'{"messages": [{"role": "user", "content": 1}]}'),
        *(b'{"messages": [{"role": "user", "content": [1]}]}', b'{"messages": [{"role": "user", "content": [{}]}]}'),
        b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}',
        b'{"messages": [{"role": "assistant", "tool_calls": [1]}]}',
        b'{"messages": [{"role": "user", "content": "x"}], "tools": [{"function": 1}]}',
        b'{"messages": [{"role": "user", "content": "x"}], "stream_options": 1}',
        b'{"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": []}',
        b'{"messages": [{"role": "user", "content": "half \\ud83d"}]}',
        b'{"messages": [{"role": "user", "content": "x"}], "\\ud83d": 1}',
        b'{"messages": [{"role": "user", "content": [{"type": ["text"], "text": "x"}]}]}',
        b'{"messages": [{"role": "user", "content": [{"type": {}, "text": "x"}]}]}',
        _deep_tools(900),
    ],
)
def test_bodies_that_are_no_requests(gateway: Gateway, body: bytes) -> None:
    answer = gateway.call("POST", "/v1/chat/completions", body)
    assert answer.status == 400
    assert answer.error
    assert not gateway.engine.chats


@pytest.mark.parametrize("depth", [900, 100_000])
def test_arguments_of_a_call_that_are_nested_without_an_end(gateway: Gateway, depth: int) -> None:
    nested = '{"x": ' * depth + "1" + "}" * depth
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": nested}}
    answer = gateway.chat([*HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}])
    assert (answer.status, answer.error) == (400, "invalid_json")
    assert gateway.chat().status == 200


def test_a_field_given_twice_is_one_field_to_gateway_and_engine_alike(gateway: Gateway) -> None:
    body = json.dumps({"model": "base", "messages": HELLO, "chat_template": "x"}).replace(
        '"chat_template": "x"', '"chat_template": "x", "chat_template": null'
    )
    assert gateway.call("POST", "/v1/chat/completions", body.encode()).status == 200
    assert gateway.engine.bodies[-1]["chat_template"] is None
