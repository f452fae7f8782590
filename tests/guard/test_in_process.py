"""The truth that servers are compared with is what the model says with the patches applied to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from patchpm.guard.distribution import Distribution
from patchpm.guard.in_process import ProbedModel
from patchpm.guard.pool import POOL
from patchpm.model.apply import attach
from patchpm.model.chat import load_model
from patchpm.model.loaded import LoadedPatch, PatchSet
from tests.model import tiny
from tests.model.test_apply_real import FOLDER


def largest_distance(model: Any, tokenizer: Any, patches: Sequence[LoadedPatch], count: int) -> float:
    """Between the first tokens by the guard's way and by the applied model's, over some of the pool."""
    asked = ProbedModel(model, tokenizer, POOL[-count:])
    served = PatchSet("system-start", tuple(patches))
    computed, prompts = asked.first_tokens(served), asked.prompt_tokens(served)
    largest = 0.0
    with attach(model, tokenizer, patches), torch.no_grad():
        for messages, found, length in zip(POOL[-count:], computed, prompts, strict=True):
            inputs = tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            assert inputs["input_ids"].shape[1] == length
            best = torch.log_softmax(model(**inputs).logits[0, -1].float(), -1).topk(40)
            said = Distribution.of(
                (tokenizer.decode([token]), value)
                for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            )
            largest = max(largest, found.distance(said))
    return largest


def test_the_tiny_model_is_asked_as_it_is_applied() -> None:
    model, tokenizer = tiny.llama(), tiny.tokenizer()
    base = tiny.base_of(model, tokenizer)
    patches = [tiny.patch(base, "acme/one", seed=1), tiny.patch(base, "acme/two", seed=2)]
    assert largest_distance(model, tokenizer, patches, 12) < 1e-3


@pytest.mark.real
@pytest.mark.skipif(not (FOLDER / "config.json").is_file(), reason="the base model is not converted yet: make demo")
def test_the_real_model_is_asked_as_it_is_applied() -> None:
    loaded: Any = load_model(FOLDER, device="cpu")
    model, tokenizer = loaded
    model.float()
    patch = tiny.patch(tiny.base_of(model, tokenizer), "acme/one", tokens=20)
    patch.rows.mul_(3.15 / patch.rows.norm(dim=1, keepdim=True))  # the median norm of the model's own embedding
    assert largest_distance(model, tokenizer, [patch], 4) < 1e-3
