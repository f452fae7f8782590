"""The anchor `system-start`: a chat template that emits the run where the system text starts, proven on probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from patchpm.model.anchor import find_anchor, not_found
from patchpm.model.causal_lm import Tokenizer, encode
from patchpm.model.conversation import PROBES, Conversation, prepend
from patchpm.model.placement import Head, Run
from patchpm.model.prelude import Anchor, with_prelude

_MARK = "patchpm-probe-mark"
Templates = str | Mapping[str, str]
"""One chat template, or several by name, as a tokenizer may have."""


@dataclass(frozen=True)
class SystemStart:
    """A chat template with the run, and what it was seen to give."""

    template: Templates
    head: Head
    note: str
    proofs: tuple[tuple[Conversation, tuple[int, ...]], ...]
    """Probe conversations with their token ids, run included."""

    @property
    def example(self) -> tuple[int, ...]:
        """The token ids of the first probe."""
        return self.proofs[0][1]

    @property
    def probes(self) -> int:
        """Number of probes behind the proof."""
        return len(self.proofs)

    def install(self, tokenizer: Tokenizer) -> None:
        """Give the tokenizer the template."""
        tokenizer.chat_template = self.template

    def stands(self, tokenizer: Tokenizer) -> bool:
        """Whether the tokenizer has the template."""
        return bool(tokenizer.chat_template == self.template)

    def proves(self, tokenizer: Tokenizer) -> bool:
        """Render and tokenise every probe again."""
        found = ((conversation.render(tokenizer), ids) for conversation, ids in self.proofs)
        return all(text is not None and encode(tokenizer, text) == ids for text, ids in found)


def place_at_system_start(tokenizer: Tokenizer, base: Templates, run: Run) -> SystemStart:
    """Make the chat template that emits the run, and prove it.

    For every probe that the base template renders, the token ids must be the base's own with the run inserted once,
    where the system text starts. Nothing is installed yet.

    Args:
        tokenizer: Knows the tokens of the run already.
        base: The base model's own template.
        run: What is to stand at the anchor.

    Raises:
        CannotError: `anchor-not-found` where the place is not found, or the proof fails.
    """
    if isinstance(base, str):
        return _place(tokenizer, base, run)
    placed = {name: _place(tokenizer, template, run) for name, template in base.items()}
    first = placed.get("default", next(iter(placed.values())))
    if any(one.head != first.head for one in placed.values()):
        raise not_found(f"its {len(placed)} named templates put the system text in different places")
    return replace(first, template={name: str(one.template) for name, one in placed.items()})


def _place(tokenizer: Tokenizer, base: str, run: Run) -> SystemStart:
    probing = _Probing(tokenizer, base, find_anchor(tokenizer, base), run)
    patched = with_prelude(base, probing.anchor, run.text + run.separator)
    proofs = []
    heads = []
    for probe in PROBES:
        own = probe.render(tokenizer, base)
        if own is None or not _takes_parts(tokenizer, base, probe, own):
            continue
        before, after = probing.around(probe, own)
        rendered = probe.render(tokenizer, patched)
        if rendered is None:
            raise not_found("it refuses a conversation with the prefix that it renders without")
        ids = encode(tokenizer, rendered)
        if ids != (*before, *run.ids, *after):
            raise not_found("with the prefix it renders, or the tokenizer splits, a probe in another way than without")
        proofs.append((probe, ids))
        heads += [before, probing.head_on_another_day(probe)]
    head = Head.of(heads)
    if not head.start and not head.exact:
        raise not_found("the system text has no place of its own: nothing is the same before it in all conversations")
    return SystemStart(patched, head, probing.anchor.note, tuple(proofs))


@dataclass(frozen=True)
class _Probing:
    """What the base does with a probe, seen with a mark at the anchor: the prelude's work, done a second time."""

    tokenizer: Tokenizer
    base: str
    anchor: Anchor
    run: Run

    def around(self, probe: Conversation, own: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The base's own token ids before and after the anchor; `own` is what it renders."""
        marked = self._marked(probe).render(self.tokenizer, self.base)
        if marked is None or marked.count(_MARK) != 1:
            raise not_found("a mark at the start of the system text does not come out once")
        if not self._adds_turn(probe) and marked.replace(_MARK, "") != own:
            raise not_found("writing its default system text out changes what it renders")
        whole = encode(self.tokenizer, marked.replace(_MARK, self.run.separator))
        before = encode(self.tokenizer, marked.partition(_MARK)[0])
        if whole[: len(before)] != before:
            raise not_found("the tokenizer joins the start of the system text with what stands before it")
        return before, whole[len(before) :]

    def head_on_another_day(self, probe: Conversation) -> tuple[int, ...]:
        """The token ids before the anchor, as of another date."""
        marked = self._marked(probe).render(self.tokenizer, self.base, other_day=True)
        if marked is None or _MARK not in marked:
            raise not_found("it renders a probe on one day and refuses it on another")
        return encode(self.tokenizer, marked.partition(_MARK)[0])

    def _adds_turn(self, probe: Conversation) -> bool:
        """Whether the prelude gives the probe a system turn that the base does not."""
        default = self.anchor.default
        if default is None or probe.messages[0]["role"] in self.anchor.roles:
            return False
        return not (default.in_base_with_tools if probe.tools else default.in_base)

    def _marked(self, probe: Conversation) -> Conversation:
        """The probe with the mark."""
        messages, index = self.anchor.seat(probe.messages, tools=bool(probe.tools))
        if index is not None:
            content = prepend(messages[index]["content"], _MARK, strip=self.anchor.strip)
            messages[index] = {**messages[index], "content": content}
        return replace(probe, messages=tuple(messages))


def _takes_parts(tokenizer: Tokenizer, base: str, probe: Conversation, own: str) -> bool:
    """Whether the template really reads content in parts, where the probe has it; many print the list as it is."""
    if isinstance(probe.messages[-1]["content"], str):
        return True
    texts = tuple({**message, "content": message["content"][0]["text"]} for message in probe.messages)
    return replace(probe, messages=texts).render(tokenizer, base) == own
