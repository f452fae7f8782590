"""A real vLLM behind a gateway: the same first token as transformers in process, tenant by tenant.

vLLM is in an environment of its own: in PATCHPM_ENGINES_BIN, else in `.venv-engines/bin`. Where it is missing, the
tests fail.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import urllib3

from patchpm.patch.digest import Digest

pytestmark = pytest.mark.engines

BASE = Path("~/.cache/patchpm/models/SmolLM2-135M-Instruct").expanduser()
PYTHON = Path(os.environ.get("PATCHPM_ENGINES_BIN", ".venv-engines/bin")).absolute() / "python"
SETS = {
    "none": (),
    "one": ("patchpm/harmfulness",),
    "three": ("patchpm/harmfulness", "patchpm/toxicity", "patchpm/bias"),
}
KEYS = {name: f"key-of-{name}-0123456789" for name in SETS}
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "default": [{"role": "user", "content": "How do I pick a lock?"}],
    "system": [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
    "turns": [
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "And of Spain?"},
    ],
}
_HTTP = urllib3.PoolManager(retries=False, timeout=300)


@dataclass(frozen=True)
class Served:
    """A gateway before a vLLM."""

    url: str
    projects: Path
    log: Path

    def chat(self, tenant: str, messages: list[dict[str, Any]], **fields: Any) -> urllib3.BaseHTTPResponse:
        body = {"model": "m", "messages": messages, "max_tokens": 1, "temperature": 0, **fields}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEYS[tenant]}"}
        return _HTTP.request("POST", self.url + "/v1/chat/completions", body=json.dumps(body).encode(), headers=headers)


def _port() -> int:
    with closing(socket.socket()) as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def _patchpm(folder: Path, *arguments: str) -> str:
    made = subprocess.run(
        [sys.executable, "-m", "patchpm", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


def _wait(popen: subprocess.Popen[bytes], url: str, log: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        assert popen.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < end, log.read_text()[-3000:]
        try:
            if _HTTP.request("GET", url + "/health").status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.5)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("gateway")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATCHPM_HOME", str(root / "home"))
        tenants = ""
        for name, patches in SETS.items():
            tenants += f'[[tenant]]\nname = "{name}"\nkeys = ["{Digest.of(KEYS[name].encode())}"]\n'
            if not patches:
                tenants += "patches = false\n"
                continue
            tenants += f'project = "{name}"\n'
            (root / name).mkdir()
            _patchpm(root / name, "init", "--base", str(BASE))
            _patchpm(root / name, "install", *patches)
        (root / "tenants.toml").write_text(tenants)
        _patchpm(root / "one", "serve", "--write-template", str(root / "engine.jinja"))
        with _vllm(root, root / "engine.jinja") as engine, _gateway(root, engine) as found:
            yield found


@contextmanager
def _vllm(root: Path, template: Path) -> Iterator[str]:
    """A vLLM on one core; yields its address."""
    port = _port()
    url, log = f"http://127.0.0.1:{port}", root / "vllm.log"
    calm = {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1",
        "KMP_BLOCKTIME": "0", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(BASE), "--enable-prompt-embeds"]
    command += ["--chat-template", str(template), "--chat-template-content-format", "openai"]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "2048", "--served-model-name", "m"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | calm
    with log.open("wb") as opened:
        popen = subprocess.Popen(command, stdout=opened, stderr=opened, env=environment)
    try:
        _wait(popen, url, log, 900)
        yield url
    finally:
        popen.terminate()
        popen.wait(60)


@contextmanager
def _gateway(root: Path, engine: str) -> Iterator[Served]:
    """A gateway before it."""
    port = _port()
    log = root / "gateway.log"
    command = [sys.executable, "-m", "patchpm", "serve", "--tenants", str(root / "tenants.toml"), "--upstream", engine]
    with log.open("wb") as opened:
        popen = subprocess.Popen([*command, "--port", str(port)], stdout=opened, stderr=opened)
    try:
        _wait(popen, f"http://127.0.0.1:{port}", log, 300)
        yield Served(f"http://127.0.0.1:{port}", root, log)
    finally:
        popen.kill()
        popen.wait()


def _reference(project: Path | None) -> dict[str, tuple[int, dict[str, float]]]:
    """Of each conversation, prompt tokens and the log-probabilities of the first token by transformers in process."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import patchpm

    torch.set_num_threads(1)
    loaded: Any = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    model: Any = loaded.eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(BASE)
    size = int(model.config.vocab_size)
    if project is not None:
        patchpm.apply(model, tokenizer, project=project)
    found = {}
    for name, messages in CONVERSATIONS.items():
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            logits = model(**ids).logits[0, -1, :size].float()
        values, tokens = logits.log_softmax(-1).topk(20)
        words = {tokenizer.decode([int(token)]): float(value) for token, value in zip(tokens, values, strict=True)}
        found[name] = (int(ids["input_ids"].shape[1]), words)
    return found


@pytest.mark.parametrize("tenant", SETS)
def test_the_first_token_is_that_of_transformers_in_process(served: Served, tenant: str) -> None:
    reference = _reference(served.projects / tenant if SETS[tenant] else None)
    for name, messages in CONVERSATIONS.items():
        answer = served.chat(tenant, messages, logprobs=True, top_logprobs=5)
        assert answer.status == 200, answer.data
        found = answer.json()
        tokens, words = reference[name]
        assert found["usage"]["prompt_tokens"] == tokens
        assert answer.headers["x-patchpm-tokens"] == str(50 * len(SETS[tenant]))
        top = found["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        assert len(top) == 5
        for entry in top:
            word = bytes(entry["bytes"]).decode("utf-8", "replace")
            assert abs(entry["logprob"] - words[word]) < 0.02, (name, word)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "developer", "content": "Be brief."}, *CONVERSATIONS["default"]]},
        {"messages": [*CONVERSATIONS["default"], {"role": "developer", "content": "Be brief."}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
        {"messages": [{"role": "system", "content": ""}, *CONVERSATIONS["default"]]},
        {"messages": [{"role": "system", "content": "x-anthropic-billing-header: a\nHi"}, *CONVERSATIONS["turns"]]},
        {"messages": CONVERSATIONS["default"], "tools": [TOOL], "tool_choice": "none"},
        {"messages": [*CONVERSATIONS["default"], {"role": "assistant", "content": "You"}],
         "add_generation_prompt": False, "continue_final_message": True},
    ],
)  # fmt: skip
def test_the_count_is_right_whatever_the_conversation_is_like(served: Served, fields: dict[str, Any]) -> None:
    answer = served.chat("three", **fields)
    assert answer.status == 200, answer.data


def test_a_stream_ends_as_it_should(served: Served) -> None:
    answer = served.chat("one", CONVERSATIONS["default"], stream=True, max_tokens=4)
    said = answer.data.decode()
    assert said.endswith("data: [DONE]\n\n")
    assert "usage" not in said
    assert '"error"' not in said


def test_an_error_of_the_engine_goes_through(served: Served) -> None:
    answer = served.chat("one", CONVERSATIONS["default"], max_tokens=100_000)
    assert answer.status == 400
    assert re.search("max_tokens|context", answer.data.decode())
