"""llama.cpp with the locked set built into a GGUF file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.engines.reference import Reference, top_of
from tests.engines.running import Project, Served, served

NEAR = 0.5
"""How far log-probabilities may be: the engine also quantises what it computes with, without patches 0.2 already."""


@pytest.fixture(scope="module")
def llama(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """llama.cpp in front of which `patchpm serve` stands."""
    with served(project, "llama.cpp", tmp_path_factory.mktemp("llama") / "log", "--watch") as running:
        yield running


@pytest.fixture(scope="module")
def reference(project: Project) -> Reference:
    """The model patched in Python."""
    return Reference(project)


@pytest.mark.parametrize("prompt", ["What is the capital of France?", "Name three rivers."])
def test_the_first_token_is_about_as_likely_as_in_python(llama: Served, reference: Reference, prompt: str) -> None:
    answer, headers = llama.chat(prompt, max_tokens=1, logprobs=True, top_logprobs=5)
    assert reference.difference(prompt, top_of(answer)) < NEAR
    assert reference.difference(prompt, top_of(answer)[:1]) < NEAR / 2
    assert answer["usage"]["prompt_tokens"] == reference.tokens(prompt)
    assert headers["x-patchpm-tokens"] == "150"


def test_the_prefix_is_computed_once(llama: Served) -> None:
    llama.chat("Is water wet?", max_tokens=1)
    answer, _ = llama.chat("Is snow white?", max_tokens=1)
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] >= 150


def test_no_prefix_token_is_sampled(llama: Served, reference: Reference) -> None:
    free = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "ignore_eos": True}
    answer, _ = llama.chat("Tell me a story.", max_tokens=200, logprobs=True, **free)
    ids = [token["id"] for token in answer["choices"][0]["logprobs"]["content"]]
    assert len(ids) == 200
    assert max(ids) < reference.first


def test_another_lock_is_served_without_a_dropped_request(llama: Served, project: Project) -> None:
    with ThreadPoolExecutor(2) as pool:
        waiting = [
            pool.submit(llama.chat, f"Say {number}.", max_tokens=8, stream=bool(number % 2)) for number in range(8)
        ]
        project.keep_only("patchpm/harmfulness")
        while not llama.events("reloaded"):
            waiting.append(pool.submit(llama.chat, "Say more.", max_tokens=8))
            waiting[-1].result()
        assert llama.chat("Hi", max_tokens=1)[1]["x-patchpm-tokens"] == "50"
        assert {one.result()[1]["x-patchpm-tokens"] for one in waiting} <= {"150", "50"}
