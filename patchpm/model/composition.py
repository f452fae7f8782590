"""Sets made of the patches that one model has been given: each placed and proven when it is first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from patchpm.errors import CannotError, UsageError
from patchpm.model.causal_lm import Tokenizer
from patchpm.model.loaded import LoadedPatch, PatchSet
from patchpm.model.placement import Placement, Run
from patchpm.model.start_guard import Watch
from patchpm.model.system_start import place_at_system_start
from patchpm.model.text_start import place_at_text_start
from patchpm.model.virtual_tokens import VirtualTokens
from patchpm.patch.name import PatchName


@dataclass(frozen=True)
class Composition:
    """One set, placed. The set without patches has no placement and an empty run."""

    patches: PatchSet
    run: tuple[int, ...]
    """The prefix tokens, with separators in between."""
    placement: Placement | None

    def install(self, tokenizer: Tokenizer) -> None:
        """Set the tokenizer up so that it emits the prefix; it has the base's template and post-processor."""
        if self.placement is not None:
            self.placement.install(tokenizer)


class Compositions:
    """The sets of one model.

    Args:
        tokenizer: Of the model.
        tokens: What was added to it.
        patches: All patches, in the order of their rows.
        anchor: Where they go.
    """

    def __init__(
        self, tokenizer: Tokenizer, tokens: VirtualTokens, patches: Sequence[LoadedPatch], anchor: str
    ) -> None:
        self._tokenizer, self._tokens, self._anchor = tokenizer, tokens, anchor
        self._patches = {str(patch.name): patch for patch in patches}
        starts = accumulate((patch.tokens for patch in patches), initial=0)
        self._starts = dict(zip(self._patches, starts, strict=False))
        self._made: dict[tuple[str, ...], Composition] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of all patches."""
        return tuple(self._patches)

    def of(self, names: Sequence[str | PatchName]) -> Composition:
        """The set of the named patches, in the order given; none is the base.

        Raises:
            UsageError: `unknown-patch`, `duplicate-patch`.
            CannotError: `anchor-not-found`.
        """
        wanted = tuple(str(name) for name in names)
        for name in wanted:
            if name not in self._patches:
                known = ", ".join(self._patches)
                raise UsageError("unknown-patch", f"{name} is not applied", why=f"applied are {known}")
            if wanted.count(name) > 1:
                raise UsageError("duplicate-patch", f"{name} is given twice", why="a patch stands once in a set")
        if wanted not in self._made:
            self._made[wanted] = self._compose(wanted)
        return self._made[wanted]

    def watch(self, tokenizer: Tokenizer, composition: Composition) -> Watch:
        """What the guard demands of sequences of this set, made with this tokenizer."""
        return Watch(tokenizer, composition.placement, composition.run, self._tokens.first, self._tokens.end)

    def _compose(self, names: tuple[str, ...]) -> Composition:
        patches = PatchSet(self._anchor, tuple(self._patches[name] for name in names))
        if not names:
            return Composition(patches, (), None)
        run = self._run(patches)
        return Composition(patches, run.ids, self._placed(run))

    def _placed(self, run: Run) -> Placement:
        if self._anchor == "text-start":
            return place_at_text_start(self._tokenizer, self._tokens.base_processor, run)
        if self._tokens.base_template is None:
            raise CannotError(
                "anchor-not-found",
                "the tokenizer has no chat template",
                why="at system-start, the template puts the prefix into the conversation",
                next="apply the patches at text-start, if they are made for it",
            )
        return place_at_system_start(self._tokenizer, self._tokens.base_template, run)

    def _run(self, patches: PatchSet) -> Run:
        """The tokens of a set with their separators."""
        starts = [self._starts[str(patch.name)] for patch in patches.patches]
        return self._tokens.run(
            (range(start, start + patch.tokens), patch.separator)
            for start, patch in zip(starts, patches.patches, strict=True)
        )
