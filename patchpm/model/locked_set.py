"""`patchpm.apply`: the patch set that a project has locked, on a model in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from patchpm.errors import CannotError, IntegrityError
from patchpm.model.apply import attach
from patchpm.model.causal_lm import Tokenizer, embedding_of
from patchpm.model.loaded import LoadedPatch
from patchpm.model.memory import fingerprint_of_model
from patchpm.patch.fingerprint import Fingerprint
from patchpm.project.files import check_fresh, load_lock
from patchpm.project.installing import Installer
from patchpm.project.lock import Lock
from patchpm.project.policy_file import load_policy
from patchpm.project.project_file import load_project_file
from patchpm.settings import Folders
from patchpm.store.store import Store

if TYPE_CHECKING:
    import torch
    from torch import nn

    from patchpm.model.applied import Applied


def apply(
    model: nn.Module,
    tokenizer: Tokenizer,
    *,
    project: str | Path = ".",
    base: str | None = None,
    found: Fingerprint | None = None,
) -> Applied:
    """Apply what `patchpm.lock` pins for this model. Nothing is downloaded; everything is verified again.

        model = AutoModelForCausalLM.from_pretrained(path)
        tokenizer = AutoTokenizer.from_pretrained(path)
        patched = patchpm.apply(model, tokenizer)

    Args:
        model: A causal language model of `transformers`; changed in place until `remove()`.
        tokenizer: Its fast tokenizer; changed in place as well.
        project: Folder of `patchpm.toml` and `patchpm.lock`.
        base: Which base of the project the model is; None to recognise it by its weights.
        found: The model's fingerprint where the caller knows it (assurance `cached`); None to hash the weights in
            memory now (assurance `verified`).

    Returns:
        The handle: a context manager with `use`, `disabled`, `verify` and `remove`.

    Raises:
        StaleLockError: `no-lock`, `stale-lock`, `lock-conflict`.
        IntegrityError: Where a file, a signature, the base or the tokenizer is not what the lock says.
        CannotError: `not-installed`, `no-such-base`, and what `patchpm.model.apply.attach` raises.
    """
    folder = Path(project)
    _, wanted = load_project_file(folder)
    lock = load_lock(folder)
    check_fresh(wanted, lock)
    fingerprint = found or fingerprint_of_model(model)
    folders = Folders.of_user()
    installer = Installer(
        Store(folders.store), load_policy(folders, folder), datetime.now(UTC), vocabulary_norm=_longest_row(model)
    )
    composition, releases = installer.load(lock, base or _recognised(lock, fingerprint))
    patches = [LoadedPatch.of(release.manifest, release.files.prefix) for release in releases]
    return attach(model, tokenizer, patches, anchor=composition.anchor, found=fingerprint)


def _recognised(lock: Lock, found: Fingerprint) -> str:
    for base in lock.bases:
        known = base.fingerprint
        if found.tensors == known.tensors or (known.bf16 is not None and found.bf16 == known.bf16):
            return base.label
    if not lock.bases:
        raise CannotError("no-such-base", "the lock has no base at all", next="run `patchpm lock`")
    raise IntegrityError(
        "base-mismatch",
        "this model is none of the bases of the project",
        why=f"its weights are {found.tensors}; the lock knows {', '.join(base.label for base in lock.bases)}",
        next="load the model that patchpm.toml names, or add this one there and run `patchpm lock`",
    )


def _longest_row(model: nn.Module) -> float:
    rows = cast("torch.Tensor", embedding_of(model).weight).detach()
    return float(rows.float().norm(dim=1).max())
