from __future__ import annotations

import pytest
import torch

from patchpm.evaluate.likelihood import log_probabilities
from tests.evaluate.tiny_suite import prefix
from tests.train.tiny_run import prefix_model


def test_many_replies_to_shared_prompts_are_as_likely_as_each_read_alone() -> None:
    model = prefix_model()
    prompts = ["What is it?", "A much longer question about the capital of France", "What is it?"]
    texts = [["Paris.", "P", "You are a helpful model"], ["help"], ["It is the capital of France", "P"]]
    replies = [[model.frame.encode(text) for text in several] for several in texts]
    with torch.no_grad():
        opening = model.opening(prefix())
        found = log_probabilities(model, opening, prompts, replies, lambda _done, _whole: None)
        for prompt, several, logs in zip(prompts, replies, found, strict=True):
            for reply, log in zip(several, logs, strict=True):
                alone = model.read(opening, [model.frame.tail(prompt)], [reply]).log_probabilities()[0]
                assert log.tolist() == pytest.approx(alone.tolist(), abs=1e-4)


def test_progress_counts_replies() -> None:
    model = prefix_model()
    seen = []
    with torch.no_grad():
        log_probabilities(
            model,
            model.opening(None),
            ["One?", "Two?"],
            [[(5, 6)], [(5,), (6, 7)]],
            lambda done, whole: seen.append((done, whole)),
        )
    assert seen[-1] == (3, 3)


def test_nothing_asked_is_nothing_read() -> None:
    model = prefix_model()
    assert log_probabilities(model, model.opening(None), [], [], lambda _done, _whole: None) == []
