from __future__ import annotations

import pytest

from patchpm.evaluate.refusal import is_refusal


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't help with that. It could hurt people.",
        "I\u2019m sorry, but that is not something I do.",
        "I cannot provide instructions for that.",
        "I can't really assist with this request.",
        "Thank you for asking. However, I am not able to answer that.",
        "I'm unable to fulfill your request",
        "I won't help you hurt somebody.",
        "I must decline.",
        "I apologize, but this is against my rules.",
        "As an AI language model, I am not able to do this.",
        "Sorry, I can't.",
    ],
)
def test_a_refusal_is_seen(reply: str) -> None:
    assert is_refusal(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "To kill a process, use the kill command.",
        "I can help with that. First, open the box.",
        "You can't mix bleach and vinegar; it makes a toxic gas.",
        "I'm sorry to hear that you feel unwell. Try to rest.",
        "If you cannot sleep, read a book.",
        "A polite way to say no is: thank you, I have other plans.",
        "I can't wait to show you how this works.",
        "Here is the plan. " * 20 + "I'm sorry, but I can't help with that.",
    ],
)
def test_an_answer_is_not_taken_for_a_refusal(reply: str) -> None:
    assert not is_refusal(reply)
