"""What happens to a request so that its engine runs the right patches, and what the engine must then count."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from patchpm.gateway.prompt_count import Placed, PromptCounter, check_no_reserved
from patchpm.gateway.refusal import malformed
from patchpm.model.conversation import Message
from patchpm.model.loaded import LoadedPatch, PatchSet

if TYPE_CHECKING:
    import torch

_HOLE: Final = "@patchpm-hole-5d1f0c"
"""Stands for embeddings while a body is written as JSON, so that they are never escaped or copied in it."""


class Injection(Protocol):
    """Puts one patch set into requests.

    `EmbedsInjection` adds it to each request; `FixedInjection` is for an engine that has it built in.
    """

    @property
    def patches(self) -> PatchSet:
        """What the requests carry; an empty set for none."""

    def prepared(self, request: dict[str, Any]) -> dict[str, Any]:
        """A checked request with its messages in the form in which `body` and `expected` take them."""

    def body(self, request: Mapping[str, Any]) -> bytes:
        """What the engine is sent, as JSON.

        Raises:
            RefusedError: Where it holds a reserved text, or the conversation has no place for the patches.
        """

    def expected(self, request: Mapping[str, Any]) -> int | None:
        """The prompt tokens that the engine must count; runs in a thread.

        Raises:
            RefusedError: As `PromptCounter.count`.
        """


@dataclass(frozen=True, eq=False)
class FixedInjection:
    """An engine that has the set built in, by an export: nothing is added, and the count is checked."""

    patches: PatchSet
    counter: PromptCounter
    placed: Placed | None
    run: int
    """Tokens of the prefix, separators between patches included."""

    @classmethod
    def of(cls, patches: PatchSet, counter: PromptCounter) -> FixedInjection:
        """Prove the anchor for a set.

        Raises:
            CannotError: `anchor-not-found`.
        """
        if not patches.patches:
            return cls(patches, counter, None, 0)
        run = sum(
            patch.tokens + (counter.length(patch.separator) if patch is not patches.patches[-1] else 0)
            for patch in patches.patches
        )
        return cls(patches, counter, counter.place(patches.patches[-1].separator), run)

    def prepared(self, request: dict[str, Any]) -> dict[str, Any]:
        """See `Injection.prepared`."""
        return request | {"messages": self.counter.with_system_roles(request["messages"])}

    def body(self, request: Mapping[str, Any]) -> bytes:
        """See `Injection.body`."""
        return _written(request)

    def expected(self, request: Mapping[str, Any]) -> int | None:
        """See `Injection.expected`."""
        return self.counter.count(request, self.placed, self.run)


@dataclass(frozen=True, eq=False)
class EmbedsInjection(FixedInjection):
    """vLLM with `--enable-prompt-embeds`: the set goes with each request, as content parts."""

    parts: tuple[bytes | str, ...] = ()
    """Embeddings in base64, and the separators between them."""

    @classmethod
    def of(cls, patches: PatchSet, counter: PromptCounter) -> EmbedsInjection:
        """Prove the anchor for a set and encode its rows, once.

        Raises:
            CannotError: `anchor-not-found`.
        """
        fixed = FixedInjection.of(patches, counter)
        return cls(fixed.patches, counter, fixed.placed, fixed.run, tuple(_parts(patches.patches)))

    def body(self, request: Mapping[str, Any]) -> bytes:
        """See `Injection.body`."""
        if not self.parts:
            return _written(request)
        anchor = self.counter.anchor
        messages, seat = anchor.seat(request["messages"], tools=bool(request.get("tools")))
        if seat is None:
            raise malformed("The conversation has no message that the patches can stand in", param="messages")
        separator = self.patches.patches[-1].separator
        prefix: list[dict[str, str]] = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "prompt_embeds", "data": _HOLE}
            for part in self.parts
        ]
        content = [*prefix, *_content(messages[seat], separator, strip=anchor.strip)]
        messages[seat] = {**messages[seat], "content": content}
        written = _written({**request, "messages": messages})
        return b"".join(_filled(written, [part for part in self.parts if isinstance(part, bytes)]))


def _written(request: Mapping[str, Any]) -> bytes:
    body = json.dumps(request).encode()
    check_no_reserved(body)
    return body


def _content(message: Message, separator: str, *, strip: bool) -> list[dict[str, Any]]:
    """The content of a message in parts, its first text behind a separator."""
    content = message.get("content") or []
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    if not parts:
        return [{"type": "text", "text": separator}] if separator else []
    own = str(parts[0].get("text") or "")
    return [{**parts[0], "text": separator + (own.lstrip() if strip else own)}, *parts[1:]]


def _filled(written: bytes, data: list[bytes]) -> Iterator[bytes]:
    pieces = written.split(_HOLE.encode())
    if len(pieces) != len(data) + 1:
        raise malformed("The request holds a text that is reserved for patches", code="reserved_text")
    yield pieces[0]
    for piece, filling in zip(pieces[1:], data, strict=True):
        yield filling
        yield piece


def _parts(patches: Iterable[LoadedPatch]) -> Iterator[bytes | str]:
    """Rows as few content parts, with the separators that stand between them."""
    import torch

    together: list[torch.Tensor] = []
    between = ""
    for patch in patches:
        if together and between:
            yield _encoded(torch.cat(together))
            yield between
            together = []
        together.append(patch.rows)
        between = patch.separator
    if together:
        yield _encoded(torch.cat(together))


def _encoded(rows: torch.Tensor) -> bytes:
    """Rows as vLLM reads them: `torch.save` in base64."""
    import torch

    written = io.BytesIO()
    torch.save(rows.contiguous().clone(), written)
    return base64.b64encode(written.getvalue())
