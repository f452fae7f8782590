"""Reading a chat completion request, and refusing what could move the patches or get around them.

Whatever is not about the prompt goes through as it is, known or not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from patchpm.gateway.refusal import RefusedError, malformed

_CUTS: Final = (
    "truncate_prompt_tokens",  # from the left, it cuts the patches off
    "truncation_side",
    "chat_template",
    "prompt_embeds",
    "prompt_logprobs",  # engines cannot give any for embeddings
    "kv_transfer_params",  # may bring token ids that replace the conversation
    "ec_transfer_params",
    "mm_processor_kwargs",
    "vllm_xargs",  # another way to give any of these
)
_FLAGS: Final = (
    "add_special_tokens",
    "echo",  # the same as prompt_logprobs
)
_TEMPLATE_NAMES: Final = frozenset({
    *("chat_template", "conversation", "messages", "tools", "documents"),
    *("add_generation_prompt", "continue_final_message", "add_special_tokens"),
    *("tokenize", "return_dict", "return_tensors", "return_assistant_tokens_mask", "tokenizer_kwargs"),
    *("padding", "truncation", "max_length"),
    *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
    *("additional_special_tokens", "image_token", "audio_token", "video_token"),
    *("namespace", "dict", "range", "lipsum", "cycler", "joiner", "raise_exception", "strftime_now"),
    *("loop", "self", "caller", "varargs", "kwargs"),
})  # fmt: skip
"""What a template must be given by the engine and nobody else."""
_DEEPEST: Final = 100
_TEXTS: Final = frozenset({"text", "input_text", "output_text", "refusal", "thinking"})


def read_chat_request(body: bytes) -> dict[str, Any]:
    """Read the body of a chat completion request.

    Raises:
        RefusedError: 400 where it is no such request, or asks for what a patched server does not do.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise malformed("The body is not JSON", code="invalid_json") from None
    if not isinstance(request, dict):
        raise malformed("The body is not a JSON object", code="invalid_json")
    if _is_deep(request):
        raise malformed(f"The body is nested more than {_DEEPEST} times", code="invalid_json")
    if b"\\u" in body:
        _check_whole_characters(request)
    _check_fields(request)
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise malformed("messages must be a list of at least one message", param="messages")
    for number, message in enumerate(messages):
        _check_message(message, f"messages[{number}]")
    _check_tools(request.get("tools"))
    options = request.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise malformed("stream_options must be an object", param="stream_options")
    return request


def check_model(request: Mapping[str, Any], served: tuple[str, ...]) -> None:
    """Make sure that the request is for the base itself: patches were measured on no adapter and no other model.

    Raises:
        RefusedError: 404.
    """
    asked = request.get("model")
    if asked is not None and asked not in served:
        raise RefusedError(404, "model_not_found", f"The model {str(asked)[:200]!r} is not served here", param="model")


def _is_deep(value: Any) -> bool:
    """Whether it holds more levels of lists and objects than templates can be expected to walk through."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _check_whole_characters(request: Any) -> None:
    """Refuse halves of characters, which JSON can escape and UTF-8 cannot write."""
    try:
        json.dumps(request, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise malformed("The body holds half a character", code="invalid_json") from None


def _check_fields(request: Mapping[str, Any]) -> None:
    """Refuse what could change the patches, or cut them off."""
    for field in _CUTS:
        if request.get(field) is not None:
            raise malformed(
                f"{field} is not allowed here: it could change the patches", param=field, code="not_allowed"
            )
    for flag in _FLAGS:
        if request.get(flag):
            raise malformed(f"{flag} is not allowed here", param=flag, code="not_allowed")
    _check_template_arguments(request.get("chat_template_kwargs"))


def _check_template_arguments(found: Any) -> None:
    if found is None:
        return
    if not isinstance(found, dict):
        raise malformed("chat_template_kwargs must be an object", param="chat_template_kwargs")
    for name in found:
        if name in _TEMPLATE_NAMES or name.startswith("patchpm"):
            raise malformed(
                f"chat_template_kwargs: {name[:80]} is not allowed here: it could move the patches",
                param="chat_template_kwargs",
                code="not_allowed",
            )


def _check_message(message: Any, place: str) -> None:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise malformed(f"{place} is no message with a role", param="messages")
    content = message.get("content")
    if content is not None and not isinstance(content, str | list):
        raise malformed(f"{place}: content is neither text nor a list of parts", param="messages")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            continue
        if not isinstance(part, dict):
            raise malformed(f"{place}: a part of its content is no object", param="messages")
        kind = part.get("type")
        if kind == "prompt_embeds" or "prompt_embeds" in part:
            raise malformed(f"{place}: embeddings are not taken from clients", param="messages", code="embeds_refused")
        text = part.get(kind if kind in ("refusal", "thinking") else "text")
        if not isinstance(kind, str) or kind not in _TEXTS or not isinstance(text, str):
            raise malformed(
                f"{place}: content of type {str(kind)[:80]!r} is not supported: only text is counted here",
                param="messages",
                code="content_not_supported",
            )
    calls = message.get("tool_calls")
    if calls is not None and not (
        isinstance(calls, list) and all(isinstance(c, dict) and isinstance(c.get("function"), dict) for c in calls)
    ):
        raise malformed(f"{place}: tool_calls is no list of calls", param="messages")


def _check_tools(tools: Any) -> None:
    if tools is None:
        return
    sound = isinstance(tools, list) and all(
        isinstance(tool, dict) and isinstance(tool.get("function"), dict) for tool in tools
    )
    if not sound:
        raise malformed("tools must be a list of functions", param="tools")
