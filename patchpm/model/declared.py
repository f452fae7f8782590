"""Several patch sets at once on one model: each has a tokenizer of its own, and the guard takes no other set.

Which patches act on a sequence is decided by its token ids alone, so sequences of different sets may share a batch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from patchpm.model.causal_lm import Tokenizer, backend_of, set_backend
from patchpm.model.loaded import LoadedPatch, PatchSet
from patchpm.patch.digest import Digest


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredSet:
    """One of the sets that may run beside the others."""

    tokenizer: Tokenizer
    """Puts the prefix of this set, and of no other, into what it renders; used as the model's own tokenizer."""
    set: PatchSet

    @property
    def patches(self) -> tuple[LoadedPatch, ...]:
        """In order; empty for the base without patches."""
        return self.set.patches

    @property
    def digest(self) -> Digest:
        """Identity of the set."""
        return self.set.digest

    @property
    def tokens(self) -> int:
        """Prefix tokens in every sequence, without separators."""
        return self.set.tokens


def twin(tokenizer: Tokenizer) -> Tokenizer:
    """A second tokenizer with the same tokens, whose template and post-processor can be others."""
    made = copy.copy(tokenizer)
    set_backend(made, copy.deepcopy(backend_of(tokenizer)))
    return made
