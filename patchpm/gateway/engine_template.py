"""The chat template that vLLM is started with, so that a prefix stands against the text without a line feed between.

vLLM puts a placeholder where a content part of embeddings stood, and where the template takes texts only it joins the
parts with a line feed. Patches are trained with the separator of their manifest. A prelude joins the parts instead: a
placeholder and what is beside it as they are, everything else as vLLM itself does.

Source: vLLM 0.32, `vllm/renderers/chat_utils.py` and `vllm/renderers/hf.py`.
"""

from __future__ import annotations

from typing import Any, Final

from patchpm.errors import CannotError
from patchpm.model.causal_lm import Tokenizer
from patchpm.model.conversation import Conversation

PLACEHOLDER: Final = "<prompt_embeds>"
"""What vLLM renders in the place of embeddings, and expands to as many tokens as they have rows."""

_PRELUDE: Final = """\
{%%- set patchpm = namespace(messages=[], parts=[], embeds=false) -%%}
{%%- for message in messages -%%}
{%%- set patchpm.parts = [] -%%}
{%%- set patchpm.embeds = false -%%}
{%%- if message['content'] is string -%%}
{%%- set patchpm.messages = patchpm.messages + [message] -%%}
{%%- else -%%}
{%%- for part in message['content'] -%%}
{%%- set embeds = part['text'] == '%(placeholder)s' -%%}
{%%- if patchpm.parts and part['type'] == 'text' and (embeds or patchpm.embeds) -%%}
{%%- set joined = dict(part, text=patchpm.parts[-1]['text'] ~ part['text']) -%%}
{%%- set patchpm.parts = patchpm.parts[:-1] + [joined] -%%}
{%%- else -%%}
{%%- set patchpm.parts = patchpm.parts + [part] -%%}
{%%- endif -%%}
{%%- set patchpm.embeds = embeds -%%}
{%%- endfor -%%}
{%%- set patchpm.messages = patchpm.messages + [dict(message, content=%(content)s)] -%%}
{%%- endif -%%}
{%%- endfor -%%}
{%%- set messages = patchpm.messages %%}
"""
_AS_PARTS: Final = "patchpm.parts"
_AS_TEXT: Final = "patchpm.parts | map(attribute='text') | join('\\n')"


def engine_template(tokenizer: Tokenizer) -> str:
    """The template of a base for `vllm serve --chat-template FILE --chat-template-content-format openai`.

    Args:
        tokenizer: The base's own.

    Raises:
        CannotError: `template-unsupported` where the base has several templates by name, or none.
    """
    base = base_template(tokenizer)
    content = _AS_PARTS if reads_parts(tokenizer, base) else _AS_TEXT
    return _PRELUDE % {"placeholder": PLACEHOLDER, "content": content} + base


def base_template(tokenizer: Tokenizer) -> str:
    """The base's one chat template.

    Raises:
        CannotError: `template-unsupported`.
    """
    found = tokenizer.chat_template
    if not isinstance(found, str):
        raise CannotError(
            "template-unsupported",
            "a gateway serves bases with one chat template",
            why="this one has none" if not found else f"this one has several, by name: {', '.join(found)}",
            next="serve the set as a fixed one instead, with `patchpm export`",
        )
    return found


def reads_parts(tokenizer: Tokenizer, template: str) -> bool:
    """Whether the template takes content in parts as well as in text; many print the list as it is."""

    def rendered(content: Any) -> str | None:
        return Conversation(({"role": "user", "content": content},)).render(tokenizer, template)

    text = rendered("patchpm-probe")
    return text is not None and rendered([{"type": "text", "text": "patchpm-probe"}]) == text
