"""A small OpenAI-compatible server around a tiny model: real weights, real HTTP, and what servers differ in."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import torch

from patchpm.guard.attestation import Serving, write_attestation
from patchpm.model.apply import attach
from patchpm.model.loaded import LoadedPatch
from patchpm.trust.private_keys import PrivateKey
from tests.loopback import in_a_thread
from tests.model import tiny


@dataclass
class Server:
    """What the server does; set before the first request."""

    patches: Sequence[LoadedPatch] = ()
    template: str | None = None
    """A chat template that the operator overrides the model's with, after the patches were applied."""
    counts: int | None = 0
    """Added to the true number of prompt tokens; None to say nothing."""
    most_logprobs: int = 20
    """What it refuses to give more of; 0 where it passes `logprobs` over, as `transformers serve` does."""
    with_bytes: bool = True
    likely: int | None = None
    """Tokens that can come at all; of the others it says -9999, as engines do that cut before they count."""
    recorded: dict[str, bytes] = field(default_factory=dict)
    """Answers by the last user message, which it gives in place of its own."""
    padding: int = 0
    """Bytes of nonsense in each answer."""
    delay: float = 0.0
    drips: bool = False
    """Whether headers come, one twenty a second, and never end."""
    statement: Serving | None = None
    signer: PrivateKey | None = None
    needs_key: str | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve; gives the address."""
        self._model, self._tokenizer = tiny.llama(), tiny.tokenizer()
        self._applied = attach(self._model, self._tokenizer, self.patches) if self.patches else None
        if self.template is not None:
            self._tokenizer.chat_template = self.template
            if self._applied is not None:
                self._applied._guard.watches = ()  # what an engine without patchpm's own guard would do
        self._lock = threading.Lock()
        http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        with in_a_thread(http):
            yield f"http://127.0.0.1:{http.server_port}"

    def replace_patches(self, patches: Sequence[LoadedPatch]) -> None:
        """Serve others from now on."""
        with self._lock:
            assert self._applied is not None
            self._applied.remove()
            self._applied = attach(self._model, self._tokenizer, patches)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(server.delay)
                if server.needs_key is not None and self.headers["Authorization"] != f"Bearer {server.needs_key}":
                    self._send(401, {"error": {"message": "wrong key", "type": "auth", "code": 401}})
                    return
                self._send(*server.answer(body))

            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                if asked.path in ("/health", "/v1/models"):
                    self._send(200, {"object": "list", "data": [{"id": "base", "object": "model"}]})
                    return
                if asked.path != "/.well-known/patchpm" or server.statement is None or server.signer is None:
                    self._send(404, {"error": {"message": "not found"}})
                    return
                nonce = parse_qs(asked.query).get("nonce", [None])[0]
                self._send(200, server.well_known(nonce))

            def _send(self, status: int, body: Any) -> None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                while server.drips:
                    self.wfile.write(b"X-More: 1\r\n")
                    time.sleep(0.05)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler

    def well_known(self, nonce: str | None) -> bytes:
        """The statement for one question."""
        assert self.statement is not None
        assert self.signer is not None
        return write_attestation(replace(self.statement, nonce=nonce), self.signer)

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        """What a chat completion is answered with."""
        self.requests.append(body)
        user = body["messages"][-1]["content"]
        if user in self.recorded:
            return 200, self.recorded[user]
        top = body.get("top_logprobs", 0)
        if 0 < self.most_logprobs < top:
            message = f"Requested sample logprobs of {top}, which is greater than max allowed: {self.most_logprobs}"
            return 400, {"error": {"message": message, "type": "BadRequestError", "code": 400}}
        with self._lock, torch.no_grad():
            inputs = self._tokenizer.apply_chat_template(
                body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            made = self._model.generate(
                **inputs,
                max_new_tokens=body["max_tokens"],
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
                pad_token_id=0,
            )
        length = inputs["input_ids"].shape[1]
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": self._tokenizer.decode(made.sequences[0, length:])},
            "finish_reason": "length",
            "logprobs": None,
        }
        if body.get("logprobs") and self.most_logprobs:
            choice["logprobs"] = {"content": [self._first_token(made.logits[0][0], top)]}
        answer: dict[str, Any] = {"object": "chat.completion", "choices": [choice], "padding": "x" * self.padding}
        if self.counts is not None:
            answer["usage"] = {"prompt_tokens": length + self.counts, "completion_tokens": 1}
        return 200, answer

    def _first_token(self, logits: torch.Tensor, top: int) -> dict[str, Any]:
        best = torch.log_softmax(logits.float(), -1).topk(top)
        found: list[dict[str, Any]] = []
        for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            text = self._tokenizer.decode([token])
            never = self.likely is not None and len(found) >= self.likely
            logprob = -9999.0 if never else value
            found.append({"token": text, "logprob": logprob, "bytes": list(text.encode()) if self.with_bytes else None})
        return {**found[0], "top_logprobs": found}
