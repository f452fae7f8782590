from __future__ import annotations

from typing import Any

import pytest
import torch

from patchpm.errors import CannotError
from patchpm.train.framing import frame
from patchpm.train.prefix_model import PrefixModel
from tests.model.templates import SHAPES
from tests.model.tiny import gpt2, tokenizer
from tests.train.tiny_run import prefix_model, tiny_model

PROMPTS = ["What is the capital of France?", "Hi", "One two three four five six"]
REPLIES = [(7, 8, 9, 10), (11,), (12, 13)]


def plain_logits(model: PrefixModel, prefix: torch.Tensor | None, prompt: str, reply: tuple[int, ...]) -> torch.Tensor:
    """What one row gives when everything is run at once."""
    embed: Any = model.model.get_input_embeddings()  # type: ignore[operator]
    head = embed(torch.tensor(model.frame.head))
    rest = embed(torch.tensor([*model.frame.common, *model.frame.tail(prompt), *reply]))
    whole = torch.cat([head, rest] if prefix is None else [head, prefix, rest]).unsqueeze(0)
    logits: torch.Tensor = model.model(inputs_embeds=whole).logits[0]
    return logits[-len(reply) - 1 : -1]


def test_the_frame_is_what_the_chat_template_renders() -> None:
    found = frame(tokenizer(), "")
    rendered = tokenizer().apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    ids = [*found.head, *found.common, *found.tail("Hi")]
    assert ids == tokenizer()(rendered, add_special_tokens=False)["input_ids"]
    assert tokenizer().decode(found.head) == "<|im_start|>system\n"
    assert tokenizer().decode(found.common).endswith("<|im_start|>user\n")


def test_the_separator_stands_right_behind_the_anchor() -> None:
    assert tokenizer().decode(frame(tokenizer(), "\n\n").common).startswith("\n\nYou are a helpful model")


def test_a_template_without_a_system_turn_is_framed_at_the_user_turn() -> None:
    shape = SHAPES["system-refused"]
    found = frame(tokenizer(shape.source), "")
    assert found.system is None
    assert tokenizer().decode(found.head) == shape.without_system
    assert tokenizer().decode(found.tail("Hi")).startswith("Hi")


def test_a_tokenizer_without_a_chat_template_is_refused() -> None:
    with pytest.raises(CannotError) as caught:
        frame(tokenizer(None), "")
    assert caught.value.code == "anchor-not-found"


def test_the_end_of_a_turn_is_what_the_template_puts_behind_a_reply() -> None:
    after = frame(tokenizer(), "").after_reply()
    assert tokenizer().decode(after) == "<|im_end|>\n"
    assert tokenizer().decode(after[:1]) == "<|im_end|>"


@pytest.mark.parametrize("with_prefix", [True, False])
@pytest.mark.parametrize("build", [tiny_model, gpt2])
def test_a_shared_opening_gives_the_logits_of_running_everything(build: Any, with_prefix: bool) -> None:
    model = PrefixModel(build(), frame(tokenizer(), ""))
    prefix = torch.randn(5, 32, generator=torch.Generator().manual_seed(3)) if with_prefix else None
    with torch.no_grad():
        reading = model.read(model.opening(prefix), [model.frame.tail(prompt) for prompt in PROMPTS], REPLIES)
        for row, (prompt, reply) in enumerate(zip(PROMPTS, REPLIES, strict=True)):
            expected = plain_logits(model, prefix, prompt, reply)
            torch.testing.assert_close(reading.logits[row, : len(reply)], expected, atol=1e-4, rtol=0)
            assert reading.labels[row, : len(reply)].tolist() == list(reply)
    assert reading.mask.sum(1).tolist() == [4, 1, 2]


def test_gradients_through_the_shared_opening_are_those_of_running_everything() -> None:
    model = prefix_model()
    start = torch.randn(5, 32, generator=torch.Generator().manual_seed(3)) * 0.3
    shared, whole = (start.clone().requires_grad_(True) for _ in range(2))
    reading = model.read(model.opening(shared), [model.frame.tail(prompt) for prompt in PROMPTS], REPLIES)
    torch.autograd.backward(reading.log_probabilities().sum())
    for prompt, reply in zip(PROMPTS, REPLIES, strict=True):
        logs = plain_logits(model, whole, prompt, reply).log_softmax(-1)
        torch.autograd.backward(logs.gather(-1, torch.tensor(reply).unsqueeze(-1)).sum())
    torch.testing.assert_close(shared.grad, whole.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("build", [tiny_model, gpt2])
def test_two_replies_behind_one_prompt_do_not_see_each_other(build: Any) -> None:
    model = PrefixModel(build(), frame(tokenizer(), ""))
    opening = model.opening(torch.randn(5, 32, generator=torch.Generator().manual_seed(3)))
    tails = [model.frame.tail(prompt) for prompt in PROMPTS]
    seconds = [(9,), (8, 7, 6, 5, 4), (3, 2)]
    with torch.no_grad():
        pair = model.read_pairs(opening, tails, REPLIES, seconds)
        for found, replies in zip(pair, (REPLIES, seconds), strict=True):
            expected = model.read(opening, tails, replies)
            torch.testing.assert_close(found.log_probabilities(), expected.log_probabilities(), atol=1e-4, rtol=0)
            assert found.labels.tolist() == expected.labels.tolist()


def test_the_first_prefix_is_the_embedding_of_its_text() -> None:
    model = prefix_model()
    ids = tokenizer()("You are", add_special_tokens=False)["input_ids"]
    weight: Any = model.model.get_input_embeddings().weight  # type: ignore[operator]
    assert torch.equal(model.embed_text("You are"), weight[ids])
    assert model.hidden_size == 32
