"""Patches on a model: what is running, switching between subsets, proving it, and taking it off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import nn

from patchpm.errors import IntegrityError, UsageError
from patchpm.model.causal_lm import Tokenizer
from patchpm.model.composition import Composition, Compositions
from patchpm.model.declared import DeclaredSet, twin
from patchpm.model.forward_proof import largest_difference
from patchpm.model.loaded import LoadedPatch, PatchSet
from patchpm.model.prefilled import Openings, Prefilled
from patchpm.model.start_guard import StartGuard
from patchpm.model.virtual_tokens import VirtualTokens
from patchpm.model.virtual_vocabulary import VirtualVocabulary, in_place
from patchpm.patch.digest import Digest
from patchpm.patch.name import PatchName


@dataclass(frozen=True, slots=True)
class Verification:
    """What `Applied.verify` has seen with its own eyes."""

    digest: Digest
    """Of the patch set that runs."""
    anchor: str
    patches: tuple[str, ...]
    """`vendor/name` of each, in order."""
    tokens: int
    probes: int
    """Conversations or texts whose token ids were the proven ones."""
    largest_difference: float
    """Between the logits by token ids and by explicit embeddings."""


class Applied:
    """Patches applied to a model and its tokenizer, made by `patchpm.model.apply.attach`.

    Model and tokenizer stay the same objects and are used as ever. Use it as a context manager, or call `remove`.

    Several threads may generate at once. Switching (`use`, `disabled`, `remove`) changes the one model for all of them,
    so no generation may be under way then. Token ids and caches made under one set are refused under another; `several`
    serves many sets at once, without switching.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, patches: Sequence[LoadedPatch], anchor: str) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._anchor = anchor
        self._active: Composition | None = None
        rows = torch.cat([patch.rows.float() for patch in patches])
        with ExitStack() as undo:
            self._tokens = VirtualTokens(tokenizer, rows.shape[0])
            undo.callback(self._tokens.remove)
            self._vocabulary = VirtualVocabulary(model, rows, self._tokens.first)
            undo.callback(self._vocabulary.remove)
            self._guard = StartGuard(model)
            before = model.register_forward_pre_hook(self._guard.before, prepend=True, with_kwargs=True)
            self._hooks = (before, model.register_forward_hook(self._guard.behind))
            for hook in self._hooks:
                undo.callback(hook.remove)
            self._openings = Openings(model, self._guard)
            undo.callback(self._openings.forget)
            self._compositions = Compositions(tokenizer, self._tokens, patches, anchor)
            self._set(self._compositions.of(self._compositions.names))
            self._undo = undo.pop_all()
        self._removed = False

    @property
    def anchor(self) -> str:
        """Where the prefix stands: `system-start` or `text-start`."""
        return self._anchor

    @property
    def anchor_note(self) -> str:
        """What is special about the place in this chat template; empty where nothing is."""
        placement = None if self._active is None else self._active.placement
        return "" if placement is None else placement.note

    @property
    def patches(self) -> tuple[LoadedPatch, ...]:
        """The active patches, in order; empty while disabled."""
        return () if self._active is None else self._active.patches.patches

    @property
    def digest(self) -> Digest:
        """Identity of the active patch set."""
        return PatchSet(self._anchor, self.patches).digest

    @property
    def tokens(self) -> int:
        """Prefix tokens in every sequence now, without separators."""
        return sum(patch.tokens for patch in self.patches)

    @contextmanager
    def use(self, *names: str | PatchName) -> Iterator[Applied]:
        """Switch to some of the attached patches, in the order given, for the length of a `with` block.

        Raises:
            UsageError: `not-applied`, `no-patches`, `unknown-patch`, `duplicate-patch`.
            CannotError: `anchor-not-found`.
        """
        self._require()
        if not names:
            raise UsageError("no-patches", "use() needs the names of patches", next="for none, use disabled()")
        with self._switched(self._compositions.of(names)):
            yield self

    @contextmanager
    def disabled(self) -> Iterator[Applied]:
        """Let the model and the tokenizer behave as the base for the length of a `with` block.

        Raises:
            UsageError: `not-applied`.
        """
        self._require()
        with self._switched(None):
            yield self

    @contextmanager
    def several(self, sets: Mapping[str, Sequence[str | PatchName]]) -> Iterator[Mapping[str, DeclaredSet]]:
        """Serve several sets at once for the length of a `with` block, in one batch if you like.

            with patched.several({"a": ["acme/toxicity"], "b": ["acme/bias", "acme/toxicity"]}) as sets:
                ids = sets["a"].tokenizer.apply_chat_template(messages)["input_ids"]

        Token ids of each set come from its own tokenizer; the model takes those of any declared set, and of no other.
        So the tokenizer that the patches were applied to is of use in the block only if its set is declared too.

        Args:
            sets: Patches in order, by a name of your choice. No patches at all means the base: then, and only then, a
                sequence without a prefix passes the guard.

        Raises:
            UsageError: `not-applied`, `no-patches`, `unknown-patch`, `duplicate-patch`.
            CannotError: `anchor-not-found`.
        """
        self._require()
        if not sets:
            raise UsageError("no-patches", "several() needs at least one set", next="for none, use disabled()")
        declared, watches = {}, []
        for label, names in sets.items():
            composition = self._compositions.of(names)
            tokenizer = self._twin(composition)
            declared[label] = DeclaredSet(tokenizer, composition.patches)
            watches.append(self._compositions.watch(tokenizer, composition))
        with self._switched(self._active or self._compositions.of(())):
            self._guard.watches = tuple(watches)
            yield declared

    def prefilled(self, inputs: Mapping[str, Any], *, copies: int = 1) -> Prefilled:
        """Make inputs whose cache holds the prefix already, so that a batch does not pay for it.

            inputs = tokenizer.apply_chat_template(chats, padding=True, return_tensors="pt", return_dict=True)
            replies = model.generate(**patched.prefilled(inputs), max_new_tokens=64)

        What is generated is the same. The prefix is computed at the first call; later calls copy it.

        Args:
            inputs: `input_ids` and `attention_mask`, as the tokenizer makes them, padded on either side.
            copies: Sequences that `generate` makes of each row: the larger of `num_beams` and `num_return_sequences`.

        Returns:
            `input_ids` of the same shape, padded behind the prefix, their mask, and a cache; new at each unpacking.

        Raises:
            UsageError: `not-applied`, `openings-differ`, `nothing-to-prefill`.
            IntegrityError: What the guard raises where a sequence starts.
            CannotError: `cache-unsupported`.
        """
        self._require()
        if not self._guard.watches:
            raise UsageError("nothing-to-prefill", "the patches are disabled", next="just generate")
        return self._openings.prefill(inputs, copies)

    def verify(self) -> Verification:
        """Make sure that the patches act on the model now, as at the moment they were applied.

        Checks the rows bit by bit, the hooks, the sizes, the tokens, the chat template or post-processor, the token ids
        of every probe, and the logits of one probe against explicit embeddings. Costs two forward passes.

        Raises:
            UsageError: `not-applied`.
            IntegrityError: `patch-removed`, `patches-disabled`, `rows-changed`, `template-overridden`,
                `patch-ineffective`.
        """
        self._require()
        placement = None if self._active is None else self._active.placement
        if placement is None:
            raise IntegrityError(
                "patches-disabled", "the patches are disabled", next="leave the disabled() block first"
            )
        self._vocabulary.check()
        self._tokens.check()
        if not all(in_place(hook) for hook in self._hooks):
            raise IntegrityError("patch-removed", "the guard is gone", why="a hook of it was removed from the model")
        if not placement.stands(self._tokenizer) or not placement.proves(self._tokenizer):
            raise IntegrityError(
                "template-overridden",
                "the tokenizer no longer puts the patches' prefix where it was proven to stand",
                why="its chat template, post-processor or tokens were changed after the patches were applied",
                next="call remove() and apply the patches again",
            )
        difference = largest_difference(self._model, self._vocabulary, self._guard, ids=placement.example)
        return Verification(
            digest=self.digest,
            anchor=self._anchor,
            patches=tuple(str(patch.name) for patch in self.patches),
            tokens=self.tokens,
            probes=placement.probes,
            largest_difference=difference,
        )

    def remove(self) -> None:
        """Give model and tokenizer back exactly as they were. Does nothing the second time."""
        if self._removed:
            return
        self._removed = True
        self._active, self._guard.watches = None, ()
        self._undo.close()

    def __enter__(self) -> Applied:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @contextmanager
    def _switched(self, to: Composition | None) -> Iterator[None]:
        before, watches = self._active, self._guard.watches
        self._set(to)
        try:
            yield
        finally:
            if not self._removed:
                self._set(before)
                self._guard.watches = watches

    def _set(self, to: Composition | None) -> None:
        self._tokens.restore_anchor(self._tokenizer)
        self._vocabulary.switch(on=to is not None)
        self._active, self._guard.watches = to, ()
        if to is not None:
            to.install(self._tokenizer)
            self._guard.watches = (self._compositions.watch(self._tokenizer, to),)

    def _twin(self, composition: Composition) -> Tokenizer:
        """A tokenizer for one set beside others."""
        made = twin(self._tokenizer)
        self._tokens.restore_anchor(made)
        composition.install(made)
        return made

    def _require(self) -> None:
        if self._removed:
            raise UsageError("not-applied", "the patches were removed from the model", next="apply them again")
