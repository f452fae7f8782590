"""A prompt as the token ids around the anchor: what stands before the prefix, and what stands after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from patchpm.errors import CannotError
from patchpm.model.anchor import find_anchor
from patchpm.model.causal_lm import Tokenizer, encode
from patchpm.model.conversation import Message

_MARK = "patchpm-anchor"


@dataclass(frozen=True, slots=True)
class Frame:
    """How one base model's chat template frames a single user turn at the anchor `system-start`."""

    tokenizer: Tokenizer
    system: str | None
    """The default system text; None where the prefix stands at the start of the user turn."""
    separator: str
    """Text between prefix and what follows it."""
    head: tuple[int, ...]
    """Token ids before the prefix, the same for every prompt."""
    common: tuple[int, ...]
    """Token ids after the prefix that every prompt starts with (system text, opening of the user turn)."""

    def tail(self, prompt: str) -> tuple[int, ...]:
        """The token ids after `common`, up to where the reply starts."""
        _, after = _split(self.tokenizer, self.system, self.separator, prompt)
        if after[: len(self.common)] != self.common:
            raise _unsplittable()
        return after[len(self.common) :]

    def after_reply(self) -> tuple[int, ...]:
        """Token ids that the template puts after a reply; the one that ends the turn is among them."""
        messages: list[Message] = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
        text = str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False))
        return encode(self.tokenizer, text.partition(_MARK)[2])

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text without any frame, as a reply has them."""
        return encode(self.tokenizer, text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a reply."""
        return str(cast("Any", self.tokenizer).decode(list(ids), skip_special_tokens=True))


def frame(tokenizer: Tokenizer, separator: str) -> Frame:
    """Find the frame of a tokenizer's chat template.

    Raises:
        CannotError: `anchor-not-found`.
    """
    template = tokenizer.chat_template
    if not isinstance(template, str):
        raise CannotError(
            "anchor-not-found",
            "the base model has no single chat template",
            why="the anchor system-start is a place in it",
            next="train on an instruct model with a chat template",
        )
    default = find_anchor(tokenizer, template).default
    system = None if default is None else default.plain
    # Two prompts without a common first or last word show which tokens every prompt shares.
    head, one = _split(tokenizer, system, separator, "What is it?")
    _, other = _split(tokenizer, system, separator, "9 + 9 = ")
    common = 0
    while one[common] == other[common]:
        common += 1
    return Frame(tokenizer, system, separator, head, one[:common])


def _split(
    tokenizer: Tokenizer, system: str | None, separator: str, prompt: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Token ids before and after the anchor."""
    messages: list[Message] = [{"role": "user", "content": prompt}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    messages[0]["content"] = _MARK + messages[0]["content"]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    before, mark, after = str(text).partition(_MARK)
    if not mark:
        raise _unsplittable()
    return encode(tokenizer, before), encode(tokenizer, separator + after)


def _unsplittable() -> CannotError:
    return CannotError("anchor-not-found", "the chat template does not frame every prompt in the same way")
