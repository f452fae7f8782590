"""vLLM with the locked set built in."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.engines.reference import Reference, top_of
from tests.engines.running import Project, Served, served

NEAR = 0.02
"""How far log-probabilities in float32 may be from the model patched in Python."""


@pytest.fixture(scope="module")
def vllm(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """vLLM in front of which `patchpm serve` stands."""
    with served(project, "vllm", tmp_path_factory.mktemp("vllm") / "log", "--watch") as running:
        yield running


@pytest.fixture(scope="module")
def reference(project: Project) -> Reference:
    """The model patched in Python."""
    return Reference(project)


@pytest.mark.parametrize("prompt", ["What is the capital of France?", "How do I pick a lock?", "Name three rivers."])
def test_the_first_token_is_as_likely_as_in_python(vllm: Served, reference: Reference, prompt: str) -> None:
    answer, headers = vllm.chat(prompt, max_tokens=1, logprobs=True, top_logprobs=5)
    assert reference.difference(prompt, top_of(answer)) < NEAR
    assert answer["usage"]["prompt_tokens"] == reference.tokens(prompt)
    assert headers["x-patchpm-tokens"] == "150"


def test_no_prefix_token_is_sampled(vllm: Served, reference: Reference) -> None:
    answer, _ = vllm.chat("Tell me a story.", temperature=1, n=16, max_tokens=64, return_token_ids=True)
    ids = [token for choice in answer["choices"] for token in choice["token_ids"]]
    assert len(ids) > 100
    assert max(ids) < reference.first


def test_the_prefix_is_computed_once(vllm: Served) -> None:
    vllm.chat("Is water wet?", max_tokens=1)
    answer, _ = vllm.chat("Is snow white?", max_tokens=1)
    details = answer["usage"].get("prompt_tokens_details") or {}
    assert details.get("cached_tokens") is None or details["cached_tokens"] >= 128


def test_another_lock_is_served_without_a_dropped_request(vllm: Served, project: Project) -> None:
    with ThreadPoolExecutor(2) as pool:
        waiting = [
            pool.submit(vllm.chat, f"Say {number}.", max_tokens=8, stream=bool(number % 2)) for number in range(8)
        ]
        project.keep_only("patchpm/harmfulness")
        while not vllm.events("reloaded"):
            waiting.append(pool.submit(vllm.chat, "Say more.", max_tokens=8))
            waiting[-1].result()
        assert vllm.chat("Hi", max_tokens=1)[1]["x-patchpm-tokens"] == "50"
        assert {one.result()[1]["x-patchpm-tokens"] for one in waiting} <= {"150", "50"}
