from __future__ import annotations

import math

import pytest
import torch

from patchpm.evaluate.perplexity import passages, perplexity
from tests.train.tiny_run import TEXT, prefix_model


def test_passages_have_an_opening_and_a_long_continuation_and_use_each_sentence_once() -> None:
    found = passages(TEXT)
    assert len(found) >= 3
    assert all(len(opening) >= 100 and len(opening) + len(rest) >= 600 for opening, rest in found)
    assert "Sentence number 0 " in found[0][0]
    joined = " ".join(f"{opening} {rest}" for opening, rest in found)
    assert " ".join(TEXT).startswith(joined)


def test_perplexity_is_that_of_reading_each_passage_alone() -> None:
    model = prefix_model()
    prefix = torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    texts = passages(TEXT)
    found = perplexity(model, prefix, texts, lambda _done, _total: None)
    losses = []
    for opening, rest in texts:
        tail = model.frame.tail(f"Continue this text:\n\n{opening}")
        with torch.no_grad():
            reading = model.read(model.opening(prefix), [tail], [model.frame.encode(rest)])
        losses.append(-float(reading.log_probabilities().sum()))
    assert found.losses == pytest.approx(losses, rel=1e-4)
    assert found.value == pytest.approx(math.exp(sum(losses) / sum(found.tokens)), rel=1e-4)
    low, high = found.interval()
    assert low <= found.value <= high
