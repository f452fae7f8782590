"""Identity of a base model: what a patch names, and what a folder on disk turns out to be.

The base model is the platform of a release. Values only: reading and hashing weights is `patchpm.model.fingerprint`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from patchpm.patch.digest import Digest


class Assurance(enum.IntEnum):
    """How well a fingerprint is known. Always shown; the policy says which level is needed."""

    DECLARED = 1
    """Someone says so: the Hub's cache, a lock, a manifest."""
    CACHED = 2
    """patchpm hashed the files once, and they have not changed since."""
    VERIFIED = 3
    """Hashed now."""


class Match(enum.Enum):
    """Why a base counts as the one a release was made for, strongest first."""

    TENSORS = "tensors"
    """The very same tensors, in whatever shards."""
    BF16 = "bf16"
    """The same after rounding every float tensor to bfloat16."""
    QUANTISED = "quantised"
    """A quantised copy that the vendor lists by its digest."""
    FILES = "files"
    """The same weight files by the Hub's own file digests, without hashing them here."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Identity of the weights and tokenizer found in one place. Digests are defined in DESIGN section 5."""

    tensors: Digest | None
    """Over sorted `[name, dtype, shape, sha256]` rows; None at DECLARED, when nothing was hashed."""
    bf16: Digest | None
    """The same with float tensors rounded to bfloat16; None for quantised weights."""
    tokenizer: Digest | None
    """Over vocabulary and merges; None where there is no tokenizer."""
    template: Digest | None
    """Of the chat template's text; None where there is none."""
    hidden_size: int
    """Width of the embedding."""
    files: tuple[tuple[str, Digest], ...] = ()
    """Weight files by relative path with the sha256 of each, sorted by path, where known."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The base a release is made for, as its manifest names it."""

    name: str
    """For people, as the Hub writes it: `SmolLM2-135M-Instruct`. Never compared."""
    tensors: Digest
    bf16: Digest | None
    quantised: tuple[Digest, ...]
    """`tensors` digests of quantised copies that the vendor measured the patch on, sorted."""
    files: tuple[tuple[str, Digest], ...]
    """Weight files with the Hub's sha256 of each, sorted; empty where the base is on no Hub."""
    tokenizer: Digest | None
    template: Digest | None
    hidden_size: int

    @property
    def short(self) -> str:
        """The 12 hex digits that stand for this base in paths (`<base12>`)."""
        return self.tensors.hex[:12]

    def match(self, found: Fingerprint) -> Match | None:
        """Say how `found` is this base, or None. Compares weights only; apply checks the tokenizer too."""
        if found.tensors is not None:
            if found.tensors == self.tensors:
                return Match.TENSORS
            if found.tensors in self.quantised:
                return Match.QUANTISED
        if found.bf16 is not None and found.bf16 == self.bf16:
            return Match.BF16
        if found.tensors is None and found.files and found.files == self.files:
            return Match.FILES
        return None
