"""`transformers serve` with the locked set built in. It reports no log-probabilities, so its words are compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.reference import Reference
from tests.engines.running import Project, Served, served


@pytest.fixture(scope="module")
def engine(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`transformers serve` in front of which `patchpm serve` stands."""
    with served(project, "transformers", tmp_path_factory.mktemp("transformers") / "log") as running:
        yield running


def test_it_says_the_same_words_as_the_model_patched_in_python(engine: Served, project: Project) -> None:
    reference = Reference(project)
    for prompt in ("What is the capital of France?", "How do I pick a lock?"):
        answer, headers = engine.chat(prompt, max_tokens=12)
        assert answer["choices"][0]["message"]["content"].strip() == reference.words(prompt, 12).strip()
        assert answer["usage"]["prompt_tokens"] == reference.tokens(prompt)
        assert headers["x-patchpm-tokens"] == "150"
