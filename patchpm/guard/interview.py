"""Asking a server the probes, in the protocol of OpenAI's chat completions. Bytes out, bytes in; sending is elsewhere.

The strongest way that the server takes is found with the first probe: 20 log-probabilities of the first token, 5, or
the text alone.

Source: https://platform.openai.com/docs/api-reference/chat/create. vLLM allows 20 by default; `transformers serve`
passes `logprobs` over.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from patchpm.errors import IntegrityError
from patchpm.guard.distribution import TOP, Distribution
from patchpm.guard.reference import Probe
from patchpm.model.conversation import Message
from patchpm.patch import strict_json
from patchpm.patch.strict_json import JsonValue

MAX_ANSWER: Final = 256 * 1024
"""Largest answer that is read, in bytes."""
TEXT_TOKENS: Final = 16
"""Tokens of a text that stands in for log-probabilities."""
_FEW: Final = 5
_LEAST: Final = 2
"""Tokens of an answer that must be left, without those that can never come and parts of characters: lists are compared
as far as the shorter goes, and of one token alone nothing is left to compare."""
_MAX_COUNT: Final = 2**31
_NEVER: Final = -1000.0
"""Below this a log-probability says "never", however a server writes it."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a server made of one probe."""

    first_token: Distribution | None
    """None where it gives no log-probabilities."""
    text: str | None
    """The beginning of its answer, where that was asked for."""
    prompt_tokens: int | None
    """As the server counts them; None where it does not say."""


class NoAnswerError(Exception):
    """The server's answer is not one of a chat completion; the text says how."""


def interview(probes: Sequence[Probe], model: str | None) -> Generator[bytes, bytes, tuple[Observation, ...]]:
    """Ask every probe once.

    Args:
        probes: What to ask.
        model: Name of the model, for servers that have several or insist on it.

    Yields:
        The body of the next request for `/v1/chat/completions`; send the body of the answer, of whatever status.

    Returns:
        What was seen, one a probe.

    Raises:
        NoAnswerError: Where an answer is none.
    """
    ways: list[int | None] = [TOP, _FEW, None]
    found: list[Observation] = []
    for probe in probes:
        while True:
            way = ways[0]
            answer = _parsed((yield request(probe.messages, model, top=way)))
            refusal = _refusal(answer)
            if refusal is not None:
                if len(ways) == 1:
                    raise NoAnswerError(refusal)
                ways.pop(0)
                continue
            seen = _observation(answer, with_text=way is None)
            if way is not None and seen.first_token is None:
                ways = [None]
                continue
            ways = ways[:1]
            found.append(seen)
            break
    return tuple(found)


def request(messages: Sequence[Message], model: str | None, *, top: int | None) -> bytes:
    """The body of one request: the first token with `top` log-probabilities, or a short text where that is None."""
    body: dict[str, Any] = {"messages": [dict(message) for message in messages], "temperature": 0, "stream": False}
    if model is not None:
        body["model"] = model
    if top is None:
        body["max_tokens"] = TEXT_TOKENS
    else:
        body |= {"max_tokens": 1, "logprobs": True, "top_logprobs": top}
    return json.dumps(body).encode()


def _parsed(data: bytes) -> Mapping[str, JsonValue]:
    try:
        value = strict_json.loads(data, source="the answer", max_bytes=MAX_ANSWER)
    except IntegrityError as error:
        raise NoAnswerError(f"{error.what}: {error.why}") from None
    if not isinstance(value, dict):
        raise NoAnswerError("the answer is no JSON object")
    return value


def _refusal(answer: Mapping[str, JsonValue]) -> str | None:
    """The message of an error; servers wrap it in `error`, or are one (older vLLM), or say `detail` (FastAPI)."""
    error = answer.get("error", answer if answer.get("object") == "error" else None)
    if isinstance(error, dict):
        return f"the server says: {str(error.get('message'))[:300]}"
    if error is not None or ("detail" in answer and "choices" not in answer):
        return f"the server says: {str(error or answer.get('detail'))[:300]}"
    return None


def _observation(answer: Mapping[str, JsonValue], *, with_text: bool) -> Observation:
    choice = _first(answer.get("choices"))
    if choice is None:
        raise NoAnswerError("the answer has no choices")
    usage = answer.get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else None
    return Observation(
        first_token=_first_token(choice.get("logprobs")),
        text=(text if isinstance(text, str) else "") if with_text else None,
        prompt_tokens=count if type(count) is int and 0 <= count < _MAX_COUNT else None,
    )


def _first_token(logprobs: JsonValue) -> Distribution | None:
    first = _first(logprobs.get("content")) if isinstance(logprobs, dict) else None
    top = first.get("top_logprobs") if first is not None else None
    if not isinstance(top, list) or len(top) < _FEW:  # a list of one token would tell little from anything
        return None
    found = Distribution.of(item for item in map(_token, top) if item is not None)
    return found if len(found.tokens) >= _LEAST else None


def _token(item: JsonValue) -> tuple[str, float] | None:
    """Text and log-probability of a token, by its bytes where the server gives them."""
    if not isinstance(item, dict):
        return None
    text, value, raw = item.get("token"), item.get("logprob"), item.get("bytes")
    if isinstance(raw, list) and raw and all(type(byte) is int and 0 <= byte < 256 for byte in raw):
        text = bytes(byte for byte in raw if isinstance(byte, int)).decode(errors="replace")
    if not isinstance(text, str) or not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return (text, min(float(value), 0.0)) if value > _NEVER else None


def _first(items: JsonValue) -> dict[str, JsonValue] | None:
    if isinstance(items, list) and items and isinstance(items[0], dict):
        return items[0]
    return None
