"""The Jinja source that goes before a chat template, so that it emits prefix tokens at the anchor.

It rewrites `messages` and leaves the template itself as it is. So it works for templates nobody has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchpm.model.conversation import Message

_PRELUDE = """\
{%%- set patchpm_prefix = %(prefix)s -%%}
%(insert)s\
{%%- set patchpm = namespace(messages=[], done=false) -%%}
{%%- for message in messages -%%}
{%%- if patchpm.done or message['role'] not in %(roles)s -%%}
{%%- set patchpm.messages = patchpm.messages + [message] -%%}
{%%- else -%%}
{%%- set patchpm.done = true -%%}
{%%- set content = message['content'] or '' -%%}
{%%- if content is string -%%}
{%%- set content = patchpm_prefix ~ content%(strip)s -%%}
{%%- elif content[0]['type'] == 'text' -%%}
{%%- set content = [dict(content[0], text=patchpm_prefix ~ content[0]['text']%(strip)s)] + content[1:] -%%}
{%%- else -%%}
{%%- set content = [{'type': 'text', 'text': patchpm_prefix}] + content -%%}
{%%- endif -%%}
{%%- set patchpm.messages = patchpm.messages + [dict(message, content=content)] -%%}
{%%- endif -%%}
{%%- endfor -%%}
{%%- set messages = patchpm.messages %%}
"""

_INSERT = """\
{%%- if not messages or messages[0]['role'] not in %(roles)s -%%}
{%%- set messages = [{'role': 'system', 'content': (%(with_tools)s if tools else %(plain)s)}] + messages -%%}
{%%- endif -%%}
"""


@dataclass(frozen=True, slots=True)
class DefaultSystem:
    """The system text that a conversation without one gets."""

    plain: str
    with_tools: str
    in_base: bool
    """Whether the base template injects it by itself; if not, the turn is empty but for the prefix."""
    in_base_with_tools: bool


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the prefix goes in the messages of one chat template."""

    roles: tuple[str, ...]
    """The first message of one of these roles carries the prefix at its start."""
    default: DefaultSystem | None
    """What is inserted where no such message comes first; None where the prefix goes to the user turn."""
    strip: bool
    """Whether the template drops white space at the start of that message."""
    note: str
    """What a reader must know of the place; empty where it is the start of the system text."""

    def seat(self, messages: Sequence[Message], *, tools: bool) -> tuple[list[Message], int | None]:
        """Find the message that carries the prefix, as the prelude does.

        Args:
            messages: A conversation; not changed.
            tools: Whether it comes with tools.

        Returns:
            The messages, with the default system turn where they have none, and the index of the carrier; None where
            there is no such message.
        """
        found = list(messages)
        if self.default is not None and (not found or found[0]["role"] not in self.roles):
            found.insert(0, {"role": "system", "content": self.default.with_tools if tools else self.default.plain})
        return found, next((index for index, message in enumerate(found) if message["role"] in self.roles), None)


def with_prelude(template: str, anchor: Anchor, prefix: str) -> str:
    """The template that emits `prefix` at the anchor.

    The prelude ends in a line feed, which Jinja's `trim_blocks` removes, so the template's own first characters count
    as the start of a line, as before.
    """
    roles = "[" + ", ".join(_literal(role) for role in anchor.roles) + "]"
    default = anchor.default
    insert = ""
    if default is not None:
        insert = _INSERT % {
            "roles": roles,
            "plain": _literal(default.plain),
            "with_tools": _literal(default.with_tools),
        }
    strip = ".lstrip()" if anchor.strip else ""
    return _PRELUDE % {"prefix": _literal(prefix), "insert": insert, "roles": roles, "strip": strip} + template


def _literal(text: str) -> str:
    """A Jinja string literal."""
    escapes = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r"})
    return f"'{text.translate(escapes)}'"
