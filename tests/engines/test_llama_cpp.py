"""The stock llama.cpp server on an exported GGUF file, against transformers with the patch in process.

Needs SmolLM2, as `make demo` leaves it, and `PATCHPM_ENGINES`: the `bin` folder of an environment with xllamacpp.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import patchpm
from patchpm.cli.app import run
from patchpm.model import demo_base
from patchpm.settings import Folders

pytestmark = [pytest.mark.engines, pytest.mark.real, pytest.mark.slow]
ENGINES = os.environ.get("PATCHPM_ENGINES")
STOCK = "SmolLM2-135M-Instruct.Q4_1.gguf"
TOKENS, VOCABULARY = 50, 49_152
CLOSE = 0.5
"""Most that one of the five best log-probabilities may differ from float32. llama.cpp rounds what it multiplies with
Q4_1 weights: the stock file differs by 0.07 to 0.19, the patched one by 0.09 to 0.48, of which the rows in Q8_0 account
for 0.06 at most. The patch itself moves them by 0.6 to 4.7."""
QUESTIONS: tuple[list[dict[str, str]], ...] = (
    [{"role": "user", "content": "What is the capital of France?"}],
    [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Why is it dark?"},
    ],
    [{"role": "user", "content": "How do I pick a lock?"}],
)


@dataclass(frozen=True)
class Project:
    """A project of SmolLM2 with one patch, and both kinds of export in its folder."""

    folder: Path
    base: Path


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    if ENGINES is None:
        pytest.skip("PATCHPM_ENGINES does not name the bin folder of an environment with xllamacpp")
    cache = Folders.of_user().cache
    base = cache / "models" / demo_base.NAME
    if not (base / "model.safetensors").is_file():
        pytest.skip("SmolLM2 is not here; `make demo` fetches it")
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHPM_HOME", str(folder / "home"))
        patch.delenv("CI", raising=False)
        patch.chdir(folder)
        demo_base.extract_demo_gguf(cache, folder / STOCK)
        assert run(["init", "--base", str(base)]) == 0
        assert run(["install", "patchpm/harmfulness"]) == 0
        assert run(["export", "gguf", "tied.gguf", "--gguf", STOCK]) == 0
        assert run(["export", "gguf", "untied.gguf", "--gguf", STOCK, "--untie"]) == 0
        yield Project(folder, base)


@contextmanager
def served(path: Path, slots: int = 1) -> Iterator[str]:
    command = [str(Path(ENGINES or "", "python")), str(Path(__file__).with_name("llama_cpp_server.py"))]
    server = subprocess.Popen(
        [*command, str(path), str(slots)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


def ask(url: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply)


def chat(url: str, messages: list[dict[str, str]]) -> Any:
    body = {"messages": messages, "max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": 20}
    return ask(url, "/v1/chat/completions", body)


@pytest.fixture(scope="module")
def expected(project: Project) -> list[tuple[int, dict[int, float]]]:
    """Prompt tokens without the patch, and the first token's five best log-probabilities with it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(project.base, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(project.base)
    found = []
    for messages in QUESTIONS:
        lengths = []
        options = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
        lengths.append(tokenizer.apply_chat_template(messages, **options)["input_ids"].shape[1])
        with patchpm.apply(model, tokenizer, project=project.folder), torch.no_grad():
            ids = tokenizer.apply_chat_template(messages, **options)
            best = torch.log_softmax(model(**ids).logits[0, -1, :VOCABULARY], -1).topk(5)
        found.append((lengths[0], dict(zip(best.indices.tolist(), best.values.tolist(), strict=True))))
    return found


def test_the_prefix_is_in_every_prompt_and_the_first_token_is_as_likely(
    project: Project, expected: list[tuple[int, dict[int, float]]]
) -> None:
    with served(project.folder / "untied.gguf") as url:
        for messages, (own, best) in zip(QUESTIONS, expected, strict=True):
            reply = chat(url, messages)
            assert reply["usage"]["prompt_tokens"] == own + TOKENS
            first = reply["choices"][0]["logprobs"]["content"][0]
            found = {entry["id"]: entry["logprob"] for entry in first["top_logprobs"]}
            assert best.keys() <= found.keys()
            assert max(abs(found[token] - value) for token, value in best.items()) < CLOSE


def test_a_tied_file_samples_as_if_there_were_no_prefix_tokens(
    project: Project, expected: list[tuple[int, dict[int, float]]]
) -> None:
    with served(project.folder / "tied.gguf") as url:
        for messages, (own, best) in zip(QUESTIONS, expected, strict=True):
            assert chat(url, messages)["usage"]["prompt_tokens"] == own + TOKENS
            prompt = ask(url, "/apply-template", {"messages": messages})["prompt"]
            body = {"prompt": prompt, "n_predict": 1, "n_probs": 20, "post_sampling_probs": True}
            open_sampling = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
            first = ask(url, "/completion", body | open_sampling)["completion_probabilities"][0]
            found = {entry["id"]: math.log(entry["prob"]) for entry in first["top_probs"]}
            assert best.keys() <= found.keys()
            assert max(abs(found[token] - value) for token, value in best.items()) < CLOSE


@pytest.mark.parametrize("name", ["tied", "untied"])
def test_no_prefix_token_is_sampled(project: Project, name: str) -> None:
    with served(project.folder / f"{name}.gguf", slots=4) as url:

        def sampled(seed: int) -> list[int]:
            prompt = ask(url, "/apply-template", {"messages": QUESTIONS[seed % len(QUESTIONS)]})["prompt"]
            body = {"prompt": prompt, "n_predict": 100, "seed": seed, "return_tokens": True, "ignore_eos": True}
            open_sampling = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
            tokens: list[int] = ask(url, "/completion", body | open_sampling)["tokens"]
            return tokens

        with ThreadPoolExecutor(4) as pool:
            tokens = [token for some in pool.map(sampled, range(8)) for token in some]
    assert len(tokens) >= 700
    assert max(tokens) < VOCABULARY
