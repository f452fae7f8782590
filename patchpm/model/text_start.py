"""The anchor `text-start`: a tokenizer that puts the run before every raw text, behind its BOS token where it has one.

The run is part of the tokenizer's post-processor, the step that adds BOS. So the text is tokenised exactly as without
it, and truncation and pairs keep the run whole. `add_special_tokens=False` leaves it out, as it leaves out BOS; such
input is refused by the guard.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from patchpm.errors import CannotError
from patchpm.model.causal_lm import Tokenizer, backend_of, encode
from patchpm.model.placement import Head, Run

_PROBES = ("The capital of France is", " two  spaces\n\tand a tab", "é中🙂", "A")


@dataclass(frozen=True)
class TextStart:
    """A post-processor with the run, and what it was seen to give."""

    processor: Any
    """A `tokenizers.processors.PostProcessor`."""
    head: Head
    proofs: tuple[tuple[str, tuple[int, ...]], ...]
    """Texts with their token ids, run included."""
    note: str = ""

    @property
    def example(self) -> tuple[int, ...]:
        """The token ids of the first probe."""
        return self.proofs[0][1]

    @property
    def probes(self) -> int:
        """Number of probes behind the proof."""
        return len(self.proofs)

    def install(self, tokenizer: Tokenizer) -> None:
        """Give the tokenizer the post-processor."""
        cast("Any", backend_of(tokenizer)).post_processor = self.processor

    def stands(self, tokenizer: Tokenizer) -> bool:
        """Whether the tokenizer has the post-processor."""
        found = backend_of(tokenizer).post_processor
        return found is not None and _state(found) == _state(self.processor)

    def proves(self, tokenizer: Tokenizer) -> bool:
        """Tokenise every probe again."""
        return all(encode(tokenizer, text, special=True) == ids for text, ids in self.proofs)


def place_at_text_start(tokenizer: Tokenizer, base: Any, run: Run) -> TextStart:
    """Make the post-processor that puts the run before a text, and see what must come out.

    Args:
        tokenizer: Knows the tokens of the run already.
        base: The base model's own post-processor, or None.
        run: What is to stand at the anchor.

    Raises:
        CannotError: `anchor-not-found` where the base frames texts in a way that is not understood.
    """
    head, tail = text_frame(tokenizer, base)
    ids = (*run.ids, *encode(tokenizer, run.separator))
    processor = _processor(base, head, ids, tail)
    proofs = tuple((text, (*head, *ids, *encode(tokenizer, text), *tail)) for text in _PROBES)
    return TextStart(processor, Head(head, head, exact=True), proofs)


def text_frame(tokenizer: Tokenizer, base: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids of the special tokens that a tokenizer puts before and behind every raw text.

    Args:
        tokenizer: The tokenizer.
        base: The base model's own post-processor, or None.

    Raises:
        CannotError: `anchor-not-found` where they are not the same for every text.
    """
    bodies = [encode(tokenizer, text) for text in _PROBES]
    framed = _framed(tokenizer, base)
    head, tail = _frame(bodies[0], framed[0])
    if any(whole != (*head, *body, *tail) for body, whole in zip(bodies, framed, strict=True)):
        raise _refused("its special tokens are not the same before and after every text")
    return head, tail


def _framed(tokenizer: Tokenizer, base: Any) -> list[tuple[int, ...]]:
    """The probes as the base tokenises them, special tokens included."""
    backend = cast("Any", backend_of(tokenizer))
    present = backend.post_processor
    backend.post_processor = base
    try:
        return [encode(tokenizer, text, special=True) for text in _PROBES]
    finally:
        backend.post_processor = present


def _frame(body: tuple[int, ...], whole: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens before and after a text."""
    for start in range(len(whole) - len(body) + 1):
        if whole[start : start + len(body)] == body:
            return whole[:start], whole[start + len(body) :]
    raise _refused("a text is not tokenised to the same tokens with and without special tokens")


def _processor(base: Any, head: tuple[int, ...], run: tuple[int, ...], tail: tuple[int, ...]) -> Any:
    from tokenizers import processors

    pieces = {"head": head, "run": run, "tail": tail}
    used = {name: ids for name, ids in pieces.items() if ids}
    before = " ".join(name for name in ("head", "run") if name in used)
    after = " tail" if tail else ""
    second = f"{'head ' if head else ''}$B{after}"
    template = processors.TemplateProcessing(
        single=f"{before} $A{after}",
        pair=f"{before} $A{after} {second}",
        special_tokens=cast(
            "Any",
            [{"id": name, "ids": list(ids), "tokens": [f"{name}{i}" for i in ids]} for name, ids in used.items()],
        ),
    )
    offsets = _byte_level(base)
    return template if offsets is None else processors.Sequence([offsets, template])


def _byte_level(base: Any) -> Any:
    """The part of the base's post-processor that trims offsets, which ours does not replace."""
    from tokenizers import processors

    state = json.loads(_state(base)) if base is not None else {}
    for part in state.get("processors", [state]):
        if part.get("type") == "ByteLevel":
            return processors.ByteLevel(trim_offsets=part["trim_offsets"])
    return None


def _state(processor: Any) -> bytes:
    return bytes(processor.__getstate__())


def _refused(why: str) -> CannotError:
    return CannotError(
        "anchor-not-found",
        "no place for the patches was found at the start of a text",
        why=why,
        next="apply the patches at system-start, if they are made for it",
    )
