"""A chat template as a table of turns: what stands between two messages depends on their roles only.

Most templates are of this kind, whatever language they are written in. The table is taken from the Jinja template by
rendering conversations of marks, and it can be written as a Go template, which is what Ollama reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from patchpm.errors import CannotError
from patchpm.model.causal_lm import Tokenizer
from patchpm.model.conversation import PROBES, Conversation, Message

_START, _END = "start", "end"
_ROLES: Final = ("system", "user", "assistant")
_USUAL: Final[tuple[tuple[str, ...], ...]] = (
    ("user",),
    ("system", "user"),
    ("user", "assistant", "user"),
    ("system", "user", "assistant", "user", "assistant", "user"),
    ("user", "assistant"),
    ("system", "user", "assistant"),
)
_UNUSUAL: Final[tuple[tuple[str, ...], ...]] = (
    ("user", "system", "user"),
    ("user", "assistant", "system", "user"),
    ("system", "assistant", "user"),
    ("assistant", "user"),
)
"""Conversations that many templates refuse, or render in a way of their own; the table then refuses them."""
_REFUSAL: Final = "{{ index $.Messages -1 }}"
"""Stops a Go template with an error, for which it has no word of its own."""


@dataclass(frozen=True, slots=True)
class TurnTemplate:
    """What stands before, between and behind messages."""

    between: Mapping[tuple[str, str], str]
    """By the roles before and after; the first message comes after `start`, and `end` after the last."""

    def render(self, messages: Sequence[Message]) -> str | None:
        """The prompt; a reply at the end is left open. None where the table has no such turn."""
        text, last = "", _START
        for message in messages:
            between = self.between.get((last, message["role"]))
            if between is None:
                return None
            text, last = text + between + message["content"], message["role"]
        return text + self.between.get((last, _END), "")

    def go_source(self) -> str:
        """The same as a Go template over `.Messages`, each with `.Role` and `.Content`, as Ollama gives them."""
        by_role = [(role, self._go_turn(role)) for role in _ROLES]
        ends = [(role, _go_text(self.between.get((role, _END), ""))) for role in _ROLES]
        return (
            '{{ $last := "start" }}{{ range .Messages }}'
            + _go_choice(".Role", by_role, _REFUSAL)
            + "{{ .Content }}{{ $last = .Role }}{{ end }}"
            + _go_choice("$last", [(role, text) for role, text in ends if text], "")
        )

    def _go_turn(self, role: str) -> str:
        known = [(last, self.between.get((last, role))) for last in (_START, *_ROLES)]
        return _go_choice("$last", [(last, _go_text(text)) for last, text in known if text is not None], _REFUSAL)


def turn_template(tokenizer: Tokenizer, *, added_start: str = "") -> TurnTemplate:
    """Take the table from a tokenizer's chat template, and prove it.

    Args:
        tokenizer: Its own template is read.
        added_start: Text that the engine puts before every prompt by itself, such as `<s>`; left out of the table.

    Raises:
        CannotError: `template-not-expressible` where the template does more than a table can say.
    """
    between = _table(tokenizer)
    between = {key: text.removeprefix(added_start) if key[0] == _START else text for key, text in between.items()}
    made = TurnTemplate(between)
    for probe in PROBES:
        if not probe.tools and all(isinstance(message["content"], str) for message in probe.messages):
            own = probe.render(tokenizer)
            if own is not None and made.render(probe.messages) != own.removeprefix(added_start):
                raise _not_expressible("it renders a probe conversation in another way than turn by turn")
    return made


def _table(tokenizer: Tokenizer) -> dict[tuple[str, str], str]:
    between: dict[tuple[str, str], str] = {}
    for roles in _USUAL:
        found = _between(tokenizer, roles)
        if found is None and "system" in roles:
            continue  # refused, as by models without a system turn
        if found is None or any(between.get(key, text) != text for key, text in found.items()):
            raise _not_expressible(f"what it writes in a conversation of {', '.join(roles)} depends on more than roles")
        between |= found
    usual = dict(between)
    refused: set[tuple[str, str]] = set()
    for roles in _UNUSUAL:
        try:
            found = _between(tokenizer, roles)
        except CannotError:
            found = None
        if found is not None and all(between.get(key, text) == text for key, text in found.items()):
            between |= found
        else:
            refused |= set(pairwise((_START, *roles, _END))) - usual.keys()
    return {key: text for key, text in between.items() if key not in refused}


def _between(tokenizer: Tokenizer, roles: Sequence[str]) -> dict[tuple[str, str], str] | None:
    """What stands between messages of these roles; None where the template refuses them.

    Raises:
        CannotError: `template-not-expressible` where a text does not come out once, or something depends on the day.
    """
    marks = [f"mark-{number}-{role}" for number, role in enumerate(roles)]
    messages = tuple({"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True))
    conversation = Conversation(messages, unfinished=roles[-1] == "assistant")
    text = conversation.render(tokenizer)
    if text is None:
        return None
    if text != conversation.render(tokenizer, other_day=True):
        raise _not_expressible("it writes the date")
    parts = []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found or mark in text:
            raise _not_expressible(f"it does not write every message once, in a conversation of {', '.join(roles)}")
        parts.append(before)
    return dict(zip(pairwise((_START, *roles, _END)), (*parts, text), strict=True))


def _go_choice(value: str, cases: Sequence[tuple[str, str]], otherwise: str) -> str:
    """`if`, `else if`, `else` over the values of a Go expression."""
    if not cases:
        return otherwise
    conditions = "{{ else ".join(f'if eq {value} "{case}" }}}}{text}' for case, text in cases)
    return "{{ " + conditions + ("{{ else }}" + otherwise if otherwise else "") + "{{ end }}"


def _go_text(text: str) -> str:
    """An action that writes a text: no character of it can be taken for a part of the template."""
    return f"{{{{ {go_string(text)} }}}}" if text else ""


def go_string(text: str) -> str:
    """A string literal of Go. JSON's are such literals, too."""
    return json.dumps(text, ensure_ascii=False)


def _not_expressible(why: str) -> CannotError:
    return CannotError(
        "template-not-expressible",
        "the chat template cannot be told as a Go template",
        why=why,
        next="write one by hand, with {{ $patchpm }} where the patches go, and give it with --template FILE",
    )
