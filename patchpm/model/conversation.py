"""Conversations as chat templates take them, and the ones that anchors are probed with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from patchpm.model.causal_lm import Tokenizer

Message = dict[str, Any]
"""`role` and `content`, as `apply_chat_template` takes it."""

_DATE = "01 Jan 1999"
_CLOCK = "{%- macro strftime_now(format) -%}" + _DATE + "{%- endmacro %}\n"


@dataclass(frozen=True)
class Conversation:
    """One call of `apply_chat_template`."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    unfinished: bool = field(default=False)
    """Whether the last message is to be continued, rather than answered."""

    def render(self, tokenizer: Tokenizer, template: str | None = None, *, other_day: bool = False) -> str | None:
        """The text that a template makes of it.

        Args:
            tokenizer: Whose special tokens the template may name.
            template: Jinja source; None for the tokenizer's own.
            other_day: Render as if it were another date, to find out what depends on it.

        Returns:
            The text, or None where the template refuses such a conversation.
        """
        from jinja2.exceptions import TemplateError

        options: dict[str, Any] = {}
        if other_day:
            template = _CLOCK + (template or tokenizer.chat_template)
            options["date_string"] = _DATE
        try:
            text = tokenizer.apply_chat_template(
                [dict(message) for message in self.messages],
                tools=list(self.tools) or None,
                chat_template=template,
                add_generation_prompt=self.messages[-1]["role"] == "user",
                continue_final_message=self.unfinished,
                tokenize=False,
                **options,
            )
        except (TemplateError, TypeError, ValueError):
            # Raised by the template itself (`raise_exception`, text + list) or about it; to a probe, all mean "not so".
            return None
        return str(text)


def prepend(content: Any, text: str, *, strip: bool) -> Any:
    """Put `text` before the content of a message, which is a string, a list of parts, or None.

    Args:
        content: The content; not changed.
        text: What goes first.
        strip: Drop white space at the start of the content.
    """
    if isinstance(content, list):
        first = content[0] if content else {}
        if first.get("type") == "text":
            return [{**first, "text": prepend(first["text"], text, strip=strip)}, *content[1:]]
        return [{"type": "text", "text": text}, *content]
    own = content or ""
    return text + (own.lstrip() if strip else own)


_WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_BRIEF: Message = {"role": "system", "content": "You answer in one short sentence."}
_EXPERT: Message = {"role": "system", "content": "Be exact, and say so where you do not know."}
_CAPITAL: Message = {"role": "user", "content": "What is the capital of France?"}
_PLANTS: Message = {"role": "user", "content": "Do plants need light?"}
_PARIS: Message = {"role": "assistant", "content": "The capital of France is Paris."}
_PARTS: tuple[Message, ...] = (
    {"role": "system", "content": [{"type": "text", "text": "You answer in one short sentence."}]},
    {"role": "user", "content": [{"type": "text", "text": "How far is the moon?"}]},
)

PROBES = (
    Conversation((_CAPITAL,)),
    Conversation((_BRIEF, _PLANTS)),
    Conversation((_CAPITAL, _PARIS, _PLANTS)),
    Conversation((_EXPERT, _CAPITAL, _PARIS, _PLANTS)),
    Conversation((_PLANTS,), tools=(_WEATHER,)),
    Conversation((_EXPERT, _CAPITAL), tools=(_WEATHER,)),
    Conversation((_BRIEF, _CAPITAL, _PARIS), unfinished=True),
    Conversation(_PARTS),
    Conversation(_PARTS[1:]),
)
"""What an anchor is proven on: with and without system text, several turns, tools, a continued reply, parts.

The texts differ, so that what is the same before the anchor in all of them belongs to the template.
"""


def opening(system: str | None, user: str, *, tools: bool = False, role: str = "system") -> Conversation:
    """A first user turn, with a system turn before it unless `system` is None."""
    before = () if system is None else ({"role": role, "content": system},)
    return Conversation((*before, {"role": "user", "content": user}), tools=(_WEATHER,) if tools else ())
