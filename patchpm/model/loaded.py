"""Patches as the model needs them: verified, in memory, in order.

The values here are what the store hands to `patchpm.model.apply`. Bytes become numbers only after the strict reader
`patchpm.patch.prefix` has checked them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel
from patchpm.patch.manifest import Manifest, Prefix
from patchpm.patch.name import PatchName
from patchpm.patch.patch_set import set_digest
from patchpm.patch.prefix import read_prefix
from patchpm.patch.version import Version

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPatch:
    """One verified release of kind `prefix`, ready to be applied."""

    name: PatchName
    version: Version
    digest: Digest
    """Of the `prefix.safetensors` that the rows came from."""
    rows: torch.Tensor
    """`(tokens, hidden_size)`, in the number type of the file, on the CPU."""
    anchors: tuple[str, ...]
    """Where it was trained and measured."""
    separator: str
    """Text that follows its last row, before the next patch or the text."""
    base: BaseModel

    @classmethod
    def of(cls, manifest: Manifest, prefix: bytes) -> LoadedPatch:
        """Make the patch of a verified manifest and the verified bytes of its prefix.

        Raises:
            IntegrityError: `malformed-prefix`.
        """
        return cls(
            name=manifest.name,
            version=manifest.version,
            digest=manifest.prefix.file.digest,
            rows=tensor_of(prefix, manifest.prefix, manifest.base.hidden_size),
            anchors=manifest.prefix.anchors,
            separator=manifest.prefix.separator,
            base=manifest.base,
        )

    @property
    def tokens(self) -> int:
        """Rows of the prefix."""
        return int(self.rows.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class PatchSet:
    """The patches that run together, in the order in which they stand at the anchor."""

    anchor: str
    patches: tuple[LoadedPatch, ...]

    @property
    def tokens(self) -> int:
        """Rows of all prefixes together."""
        return sum(patch.tokens for patch in self.patches)

    @property
    def digest(self) -> Digest:
        """Identity of what runs, as the lock records it."""
        return set_digest(self.anchor, ((patch.name, patch.version, patch.digest) for patch in self.patches))


def tensor_of(data: bytes, prefix: Prefix, hidden_size: int) -> torch.Tensor:
    """Turn the bytes of `prefix.safetensors` into a tensor, without the safetensors library.

    Args:
        data: The whole file, its digest already checked.
        prefix: What the signed manifest says of it.
        hidden_size: Width of the base model's embedding.

    Returns:
        A CPU tensor `(tokens, hidden_size)` of dtype float32, float16 or bfloat16, as the file has it.

    Raises:
        IntegrityError: `malformed-prefix`.
    """
    import torch

    matrix = read_prefix(data, prefix, hidden_size)
    dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[matrix.dtype]
    raw = torch.frombuffer(bytearray(matrix.data), dtype=torch.uint8).view(-1, dtype.itemsize)
    if sys.byteorder == "big":
        raw = raw.flip(1).contiguous()
    return raw.view(dtype).view(matrix.tokens, matrix.hidden_size)
