"""`patchpm serve` as an operator runs it: a process of its own, on a locked project, told by signals."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from patchpm.gateway.engine_template import engine_template
from patchpm.patch.digest import Digest
from tests.gateway.builders import HTTP, Gateway, served
from tests.gateway.engine import Engine
from tests.model import tiny
from tests.world import World


@contextmanager
def process(world: World, *arguments: str) -> Iterator[tuple[Gateway, subprocess.Popen[bytes], Path]]:
    """Start one in front of an engine, and end it."""
    engine = Engine(engine_template(tiny.tokenizer()))
    log = world.root / "serve.log"
    with served(engine.app()) as url, log.open("wb") as opened:
        command = [sys.executable, "-m", "patchpm", "serve", "--port", "0", "--upstream", url, *arguments]
        popen = subprocess.Popen(command, stderr=opened, stdout=opened, cwd=world.project, env=os.environ)
        gateway = Gateway("", [engine])
        try:
            gateway.wait_for(lambda: popen.poll() is not None or "serving" in log.read_text(), 60)
            found = re.search(r"at (http://\S+);", log.read_text())
            assert found is not None, log.read_text()
            gateway.url = found[1]
            gateway.wait_for(lambda: gateway.get("/health").status == 200, 30)
            yield gateway, popen, log
        finally:
            if popen.poll() is None:
                popen.kill()
            popen.wait()


@pytest.mark.slow
def test_a_locked_project_is_served_updated_rolled_back_and_ended_without_a_dropped_request(talking: World) -> None:
    talking.started("bias")
    lock, toml = talking.project / "patchpm.lock", talking.project / "patchpm.toml"
    before = lock.read_text(), toml.read_text()
    with process(talking) as (gateway, popen, log):
        old = gateway.chat()
        assert (old.status, old.headers["x-patchpm-tokens"]) == (200, "2")
        assert old.headers["x-patchpm-set"] == str(talking.lock.compositions[0].digest)

        talking.ok("install", "toxicity")
        popen.send_signal(signal.SIGHUP)
        gateway.wait_for(lambda: gateway.chat().headers["x-patchpm-tokens"] == "5", 30)

        lock.write_text(lock.read_text().replace("tokens = 3", "tokens = 4"))
        popen.send_signal(signal.SIGHUP)
        gateway.wait_for(lambda: "reload refused" in log.read_text(), 30)
        assert gateway.chat().headers["x-patchpm-tokens"] == "5"

        lock.write_text(before[0])
        toml.write_text(before[1])
        popen.send_signal(signal.SIGHUP)
        gateway.wait_for(lambda: gateway.chat().headers["x-patchpm-set"] == old.headers["x-patchpm-set"], 30)

        gateway.engine.pause = 0.3
        body = b'{"model": "base", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
        headers = {"Content-Type": "application/json"}
        stream = HTTP.request(
            "POST", gateway.url + "/v1/chat/completions", body=body, headers=headers, preload_content=False
        )
        popen.send_signal(signal.SIGTERM)
        assert stream.read().endswith(b"data: [DONE]\n\n")
        assert popen.wait(20) in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_tenants_of_a_file_are_told_apart_by_their_keys(talking: World) -> None:
    talking.started("bias")
    keys = {name: f"{name}-0123456789abcdef" for name in ("ann", "bob")}
    hashes = {name: str(Digest.of(key.encode())) for name, key in keys.items()}
    path = talking.root / "tenants.toml"
    path.write_text(
        f'[[tenant]]\nname = "ann"\nkeys = ["{hashes["ann"]}"]\nproject = "project"\n'
        f'[[tenant]]\nname = "bob"\nkeys = ["{hashes["bob"]}"]\npatches = false\n'
    )
    with process(talking, "--tenants", str(path), "--watch") as (gateway, _, log):
        assert gateway.chat(key=keys["ann"]).headers["x-patchpm-tokens"] == "2"
        assert gateway.chat(key=keys["bob"]).headers["x-patchpm-tokens"] == "0"
        assert gateway.chat().status == 401
        path.write_text(path.read_text().replace(hashes["bob"], str(Digest.of(b"a new key of bob"))))
        gateway.wait_for(lambda: gateway.chat(key=keys["bob"]).status == 401, 30)
        assert gateway.chat(key="a new key of bob").status == 200
        assert not any(key in log.read_text() for key in keys.values())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--tenants", "tenants.toml"], "no-upstream"),
        (["--upstream", "http://127.0.0.1:1", "--engine", "vllm"], "wrong-options"),
        (["--engine", "vllm", "--engine-bin", "."], "engine-not-found"),
        (["--engine", "llama.cpp", "--engine-command", "x {model} {port}"], "which-gguf"),
        (["--engine", "vllm", "--engine-command", "no-such-engine {model} {port}"], "engine-died"),
        (["--upstream", "localhost:8000"], "bad-upstream"),
        (["--upstream", "http://user:secret@host"], "bad-upstream"),
        (["--upstream", "http://127.0.0.1:1", "--base", "other"], "which-base"),
        (["--upstream", "http://127.0.0.1:1", "--tenants", "none.toml"], "unreadable-file"),
        (["--upstream", "http://127.0.0.1:1", "--host", "no.such.host.invalid"], "cannot-listen"),
    ],
)
def test_what_hinders_it_is_told(talking: World, arguments: list[str], code: str) -> None:
    talking.started("bias")
    found = talking.run("serve", *arguments)
    assert f"[{code}]" in found.err
    assert found.code != 0


def test_the_template_for_the_engine_is_written_with_the_command_that_uses_it(talking: World) -> None:
    talking.started("bias")
    found = talking.ok("serve", "--write-template", "engine.jinja")
    assert Path("engine.jinja").read_text() == engine_template(tiny.tokenizer())
    assert "--enable-prompt-embeds --chat-template engine.jinja" in found.out


def test_keys_are_hashed_from_standard_input(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("sk-0123456789abcdef\n"))
    assert world.ok("serve", "--hash-key").out.strip() == str(Digest.of(b"sk-0123456789abcdef"))
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert "[weak-key]" in world.run("serve", "--hash-key").err
