"""How many tokens an engine must count for a request: the base's tokenizer and template, asked by the gateway itself.

The request is brought into the form in which vLLM hands it to a template, rendered with one mark in the place of the
prefix, and split. So the place is seen as well as the number: whatever moves the mark is refused.

Source: vLLM 0.32, `vllm/renderers/chat_utils.py` and `vllm/renderers/online_renderer.py`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from patchpm.gateway.engine_template import PLACEHOLDER, base_template, reads_parts
from patchpm.gateway.refusal import malformed
from patchpm.model.anchor import find_anchor
from patchpm.model.causal_lm import Tokenizer, backend_of
from patchpm.model.conversation import Message
from patchpm.model.prelude import Anchor
from patchpm.model.system_start import SystemStart, place_at_system_start
from patchpm.model.virtual_tokens import VirtualTokens

RESERVED: Final = (PLACEHOLDER, "<|patchpm:")
"""Texts that an engine may turn into rows of a patch; no client may send them."""
_HEADER: Final = "x-anthropic-billing-header"


@dataclass(frozen=True, slots=True)
class Placed:
    """A mark at the anchor, with a separator behind it, proven on probe conversations."""

    mark: int
    """Token id of the mark."""
    start: SystemStart


class PromptCounter:
    """Counts the prompts of one base model.

    Used by several threads at once, after the last call of `place`.

    Args:
        tokenizer: The base's own; a copy of it is worked with.

    Raises:
        CannotError: `anchor-not-found`, `template-unsupported`, `tokenizer-unsupported`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._template = base_template(tokenizer)
        self._tokenizer = copy.deepcopy(tokenizer)
        self.parts = reads_parts(tokenizer, self._template)
        """Whether the template takes content in parts."""
        self.anchor: Anchor = find_anchor(tokenizer, self._template)
        """Where the prefix goes."""
        self._has_developer = "'developer'" in self._template or '"developer"' in self._template
        self._tokens = VirtualTokens(self._tokenizer, 1)
        self._backend = backend_of(self._tokenizer)

    def place(self, separator: str) -> Placed:
        """Prove the anchor for patch sets that end in this separator.

        Raises:
            CannotError: `anchor-not-found`.
        """
        run = self._tokens.run([(range(1), separator)])
        return Placed(self._tokens.first, place_at_system_start(self._tokenizer, self._template, run))

    def length(self, text: str) -> int:
        """Tokens of a text by itself."""
        return len(self._backend.encode(text, add_special_tokens=False).ids)

    def count(self, request: Mapping[str, Any], placed: Placed | None, run: int) -> int | None:
        """The prompt tokens that the engine must report.

        Args:
            request: As `with_system_roles` left it, without the prefix.
            placed: Where the prefix stands; None for none.
            run: Tokens of the prefix, separators between patches included.

        Returns:
            The number, or None where the template refuses the conversation, as it will in the engine.

        Raises:
            RefusedError: Where the request moves the anchor, or holds a reserved text once it is rendered.
        """
        template = self._template if placed is None else str(placed.start.template)
        text = self._rendered(request, template)
        if text is None:
            return None
        if any(word in text.replace(self._tokens.names[0], "", 1) for word in RESERVED):
            raise malformed("The conversation holds a text that is reserved for patches", code="reserved_text")
        # Of one text, since unlike `encode` this lets other threads run meanwhile: a megabyte takes a second.
        ids = self._backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
        if placed is None:
            return len(ids)
        if ids.count(placed.mark) != 1 or not placed.start.head.fits(ids[: ids.index(placed.mark)]):
            raise malformed("The request moves the place where the patches stand", code="anchor_moved")
        return len(ids) - 1 + run

    def with_system_roles(self, messages: list[Message]) -> list[Message]:
        """The messages as vLLM makes them of developer messages, where the template knows none."""
        if self._has_developer or not any(message["role"] == "developer" for message in messages):
            return messages
        named = [
            {**_without(message, "tools"), "role": "system"} if message["role"] == "developer" else message
            for message in messages
        ]
        system = [message for message in named if message["role"] == "system"]
        if len(system) == 1 and named[0] is system[0]:
            return named
        texts = [text for message in system if (text := "\n".join(_texts(message.get("content"))))]
        return [
            {"role": "system", "content": "\n\n".join(texts)},
            *(message for message in named if message["role"] != "system"),
        ]

    def _rendered(self, request: Mapping[str, Any], template: str) -> str | None:
        from jinja2.exceptions import TemplateError

        options: dict[str, Any] = dict(request.get("chat_template_kwargs") or {})
        effort = request.get("reasoning_effort")
        if effort is not None:
            options.setdefault("enable_thinking", effort != "none")
        options |= {key: request[key] for key in ("documents", "reasoning_effort") if request.get(key) is not None}
        options.pop("tools", None)
        try:
            conversation = [self._handed(message) for message in request["messages"]]
            text = self._tokenizer.apply_chat_template(
                conversation,
                tools=[_tool(tool) for tool in request.get("tools") or ()] or None,
                chat_template=template,
                add_generation_prompt=_flag(request, "add_generation_prompt", default=True),
                continue_final_message=_flag(request, "continue_final_message", default=False),
                tokenize=False,
                **options,
            )
        except RecursionError:
            raise malformed("The arguments of a tool call are nested too deeply", code="invalid_json") from None
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError):
            return None
        return str(text)

    def _handed(self, message: Message) -> Message:
        """A message as vLLM hands it to the template."""
        texts = _texts(message.get("content"))
        if message["role"] == "system":
            texts = [text for text in map(_without_header, texts) if text is not None]
        as_parts = self.parts and message["role"] != "tool"
        handed: Message = {
            "role": message["role"],
            "content": [{"type": "text", "text": text} for text in texts] if as_parts else "\n".join(texts),
        }
        if message["role"] == "assistant":
            if message.get("tool_calls"):
                handed["tool_calls"] = [_call(call) for call in message["tool_calls"]]
            if message.get("reasoning") is not None:
                handed["reasoning"] = handed["reasoning_content"] = message["reasoning"]
        if message["role"] == "developer":
            handed["tools"] = message.get("tools")
        kept = ("name", "task", *(("tool_call_id",) if message["role"] == "tool" else ()))
        return handed | {key: message[key] for key in kept if isinstance(message.get(key), str)}


def check_no_reserved(body: bytes) -> None:
    """Refuse a body that holds a reserved text anywhere.

    Args:
        body: JSON written by this process, so that there is one way to write each of them.

    Raises:
        RefusedError: `reserved_text`.
    """
    for word in RESERVED:
        if word.encode() in body:
            raise malformed(f"The text {word!r} is reserved for patches", code="reserved_text")


def _texts(content: Any) -> list[str]:
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    return [part if isinstance(part, str) else _text(part) for part in content]


def _text(part: Any) -> str:
    """The text of a content part."""
    for key in ("text", "refusal", "thinking"):
        if isinstance(part.get(key), str):
            return str(part[key])
    return ""


def _without_header(text: str) -> str | None:
    """What vLLM leaves of a system text that begins with a line about billing."""
    return text.partition("\n")[2] or None if text.startswith(_HEADER) else text


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as vLLM writes it out: known fields in its own order, those left out as null."""
    function: Mapping[str, Any] = tool["function"]
    written = {key: function.get(key) for key in ("name", "description", "parameters")}
    written |= {key: function[key] for key in ("strict", "defer_loading") if function.get(key) is not None}
    return {"type": tool.get("type", "function"), "function": written}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call of a tool with its arguments as an object."""
    function = dict(call["function"])
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = None
    function["arguments"] = arguments if isinstance(arguments, dict) else {}
    return {**call, "function": function}


def _flag(request: Mapping[str, Any], key: str, *, default: bool) -> bool:
    found = request.get(key)
    return default if found is None else bool(found)


def _without(message: Message, key: str) -> Message:
    return {name: value for name, value in message.items() if name != key}
