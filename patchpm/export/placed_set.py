"""A patch set placed in a tokenizer: the first step of every export of a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch

from patchpm.errors import CannotError
from patchpm.model.causal_lm import Tokenizer, backend_of
from patchpm.model.loaded import PatchSet
from patchpm.model.placement import Run
from patchpm.model.system_start import SystemStart, place_at_system_start
from patchpm.model.virtual_tokens import VirtualTokens


@dataclass(frozen=True, eq=False)
class PlacedSet:
    """Where the rows of a patch set stand in a larger vocabulary, and the chat template that emits them."""

    patches: PatchSet
    names: tuple[str, ...]
    """Name of the token of each row; nobody can guess it."""
    first: int
    """The id of row 0; those of the others follow."""
    rows: torch.Tensor
    """`(tokens, hidden_size)`, float32."""
    run: Run
    """What the template emits at the anchor."""
    placement: SystemStart
    """The template, with the probe conversations that it is proven on."""
    replaced: Mapping[str, str]
    """The reserved tokens that were taken, old name to new; empty where tokens were added."""

    @property
    def end(self) -> int:
        """One more than the id of the last row."""
        return self.first + len(self.names)


def place_set(tokenizer: Tokenizer, patches: PatchSet, *, instead_of: range | None = None) -> PlacedSet:
    """Give a tokenizer a token for every row of a set, and the chat template that emits them.

    Args:
        tokenizer: The base's own; its compiled tokenizer and its template are replaced.
        patches: A set at `system-start`.
        instead_of: Ids of tokens that the vocabulary keeps free, one a row, as `reserved_run` finds them; None to add
            tokens behind the last.

    Raises:
        CannotError: `anchor-not-exportable` at another anchor, `anchor-not-found`, `tokenizer-unsupported`.
    """
    if patches.anchor != "system-start":
        raise CannotError(
            "anchor-not-exportable",
            f"a patch set at {patches.anchor} cannot be exported",
            why="an exported model puts the prefix into its chat template, and this anchor is outside of it",
            next="apply it in Python with patchpm.apply",
        )
    if tokenizer.chat_template is None:
        raise CannotError(
            "anchor-not-found",
            "the base has no chat template",
            why="at system-start, the template puts the prefix into the conversation",
            next="use a base model that was made for conversations",
        )
    before = backend_of(tokenizer)
    tokens = VirtualTokens(tokenizer, patches.tokens, instead_of=instead_of)
    starts = accumulate((patch.tokens for patch in patches.patches), initial=0)
    parts = [
        (range(start, start + patch.tokens), patch.separator)
        for start, patch in zip(starts, patches.patches, strict=False)
    ]
    run = tokens.run(parts)
    placement = place_at_system_start(tokenizer, tokens.base_template, run)
    placement.install(tokenizer)
    rows = torch.cat([patch.rows.float() for patch in patches.patches])
    replaced = {str(before.id_to_token(old)): new for old, new in zip(instead_of or (), tokens.names, strict=False)}
    return PlacedSet(patches, tokens.names, tokens.first, rows, run, placement, replaced)
