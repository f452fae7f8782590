"""The GGUF file that a project's locked patch set goes into: the base itself, or a copy that its releases list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchpm.cli.bases import measure
from patchpm.cli.locked_set import locked_set
from patchpm.errors import IntegrityError, UsageError
from patchpm.patch.digest import Digest

if TYPE_CHECKING:
    from patchpm.model.loaded import PatchSet


@dataclass(frozen=True, slots=True)
class LockedGguf:
    """A stock file and the set that is made for it."""

    path: Path
    digest: Digest
    """Of its tensors."""
    patches: PatchSet
    tokenizer: Path | None
    """A folder with the same tokenizer, where the project's base is one."""


def locked_gguf(folder: Path, label: str | None, stock: Path | None) -> LockedGguf:
    """Find the stock file of a project's base, and load the patch set.

    Args:
        folder: Of `patchpm.toml` and `patchpm.lock`.
        label: Which base of the project.
        stock: A GGUF file of the same model; None for the base, where that is one.

    Raises:
        UsageError: `which-gguf`, and as `locked_set`.
        IntegrityError: `base-mismatch` where a patch is not made for this copy of the model, and as `locked_set`.
        CannotError: As `locked_set`.
    """
    locked = locked_set(folder, label)
    is_gguf = locked.base.kind == "gguf"
    if stock is None and not is_gguf:
        raise UsageError(
            "which-gguf",
            f"the base {locked.label} is not a GGUF file",
            why="its weights are in safetensors, and patchpm does not convert them",
            next="give a GGUF file of the same model: --gguf FILE",
        )
    found = locked.base if stock is None else measure(str(stock.resolve()), folder)
    for patch in locked.patches.patches:
        if patch.base.match(found.fingerprint) is None:
            raise IntegrityError(
                "base-mismatch",
                f"{patch.name} {patch.version} is not made for {found.source}",
                why=f"its tensors are {found.fingerprint.tensors}, which the release does not list among the copies "
                "of its base that it was measured on",
                next="take a GGUF file that the vendor lists, or ask for one more to be measured",
            )
    digest = found.fingerprint.tensors
    assert digest is not None, "a measured GGUF file has a digest of its tensors"
    return LockedGguf(found.source, digest, locked.patches, None if is_gguf else locked.base.source)
