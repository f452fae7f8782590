"""What is not about the prompt goes through as it is: streams, errors, fields, cancellation, backpressure."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from patchpm.guard.attestation import read_attestation
from tests.gateway.builders import BASE, HELLO, HTTP, Gateway, everybody, patch, running, tenants


def opened_stream(gateway: Gateway, **fields: Any) -> socket.socket:
    """A streaming request on a raw connection."""
    body = json.dumps({"model": "base", "messages": HELLO, "stream": True, **fields}).encode()
    parts = urlsplit(gateway.url)
    line = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    line.sendall(head.encode() + body)
    return line


def test_each_word_of_a_stream_arrives_when_the_engine_says_it(gateway: Gateway) -> None:
    gateway.engine.pause = 0.1
    body = json.dumps({"model": "base", "messages": HELLO, "stream": True}).encode()
    headers = {"Content-Type": "application/json"}
    answer = HTTP.request(
        "POST", gateway.url + "/v1/chat/completions", body=body, headers=headers, preload_content=False
    )
    times = [time.monotonic() for _ in answer.stream(65536)]
    assert len(times) >= 3
    assert times[-1] - times[0] > 0.15


def test_the_usage_of_a_stream_is_shown_to_those_who_asked_and_to_nobody_else(gateway: Gateway) -> None:
    plain = gateway.chat(stream=True)
    asked = gateway.chat(stream=True, stream_options={"include_usage": True})
    assert [len(plain.events), plain.events[-1]] == [4, None]
    assert "usage" not in plain.data.decode()
    assert [len(asked.events), asked.events[-1]] == [5, None]
    assert asked.events[-2]["usage"]["prompt_tokens"] > 5


def test_unknown_fields_reach_the_engine_as_they_are(gateway: Gateway) -> None:
    extra: dict[str, Any] = {
        "logprobs": True,
        "top_logprobs": 5,
        "seed": 7,
        "from_next_year": {"a": [1.5, None, "é\u2028"]},
        "n": 2,
    }
    assert gateway.chat(**extra).status == 200
    assert {key: gateway.engine.bodies[-1][key] for key in extra} == extra
    assert "stream_options" not in gateway.engine.bodies[-1]


def test_an_error_of_the_engine_goes_through_word_for_word(gateway: Gateway) -> None:
    said = {"error": {"message": "max_tokens is too large", "type": "BadRequestError", "param": None, "code": 400}}
    gateway.engine.fails = (400, said)
    answer = gateway.chat()
    assert (answer.status, answer.json()) == (400, said)
    assert answer.headers["x-patchpm-tokens"] == "5"


def test_the_engine_stops_when_the_client_leaves_a_stream(gateway: Gateway) -> None:
    gateway.engine.pause, gateway.engine.words = 0.05, ("word ",) * 200
    with closing(opened_stream(gateway)) as line:
        assert b"word" in line.recv(4096) + line.recv(4096)
    gateway.wait_for(lambda: gateway.engine.cancelled == 1)
    assert gateway.engine.sent < 100


def test_the_engine_stops_when_the_client_leaves_before_the_answer(gateway: Gateway) -> None:
    gateway.engine.pause = 30
    with closing(opened_stream(gateway)):
        gateway.wait_for(lambda: len(gateway.engine.chats) == 1)
    gateway.wait_for(lambda: gateway.engine.cancelled == 1)
    site = gateway.site
    assert site is not None
    gateway.wait_for(lambda: site.upstreams.all[0].in_flight == 0)


def test_an_engine_is_not_read_faster_than_the_client_reads(gateway: Gateway) -> None:
    gateway.engine.words = ("x" * 4096,) * 5000
    with closing(opened_stream(gateway)) as line:
        line.recv(1)
        seen = -1
        while seen != gateway.engine.sent:
            seen = gateway.engine.sent
            time.sleep(0.3)
        assert seen < 4000


def test_models_of_the_engine_are_listed_without_adapters() -> None:
    with running(everybody(patch("acme/a"))) as gateway:
        gateway.engine.models += ({"id": "tuned", "object": "model", "parent": "base"},)
        assert [model["id"] for model in gateway.get("/v1/models").json()["data"]] == ["base"]
        assert gateway.get("/version").json() == {"version": "0.32.0"}
        assert gateway.get("/health").status == 200


def test_the_request_is_found_again_in_the_log_by_its_id_and_without_what_was_said() -> None:
    roster = tenants({"ann": (patch("acme/a"),)})
    with running(roster) as gateway:
        answer = gateway.chat(key="key-of-ann")
        gateway.wait_for(lambda: any(record.getMessage() == "request" for record in gateway.records))
        (record,) = [record for record in gateway.records if record.getMessage() == "request"]
        fields: dict[str, Any] = record.fields  # type: ignore[attr-defined]
        assert fields["id"] == answer.headers["x-request-id"] == gateway.engine.headers[-1]["x-request-id"]
        assert (fields["tenant"], fields["status"]) == ("ann", 200)
        assert fields["set"] == answer.headers["x-patchpm-set"]
        text = json.dumps([vars(record).get("fields") for record in gateway.records])
        assert "key-of" not in text
        assert "France" not in text


def test_the_key_of_the_engines_goes_to_them_and_that_of_the_client_does_not() -> None:
    with running(tenants({"ann": (patch("acme/a"),)}), key="engine-key") as gateway:
        assert gateway.chat(key="key-of-ann").status == 200
        assert gateway.engine.headers[-1]["authorization"] == "Bearer engine-key"


def test_it_says_what_it_serves() -> None:
    with running(everybody(patch("acme/a"), patch("acme/b"))) as gateway:
        assert gateway.site is not None
        answer = gateway.get("/.well-known/patchpm?nonce=n1")
        found = read_attestation(answer.data, gateway.site.signer.public, nonce="n1")
        assert [str(one.name) for one in found.patches] == ["acme/a", "acme/b"]
        assert str(found.set) == gateway.chat().headers["x-patchpm-set"]
        assert (found.anchor, str(found.base)) == ("system-start", BASE)
        assert gateway.get("/.well-known/patchpm?nonce=%20").status == 400
