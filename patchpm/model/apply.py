"""Applying verified patches to a `transformers` model in memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from torch import nn

from patchpm.model.applied import Applied
from patchpm.model.base_check import check_base, check_set
from patchpm.model.causal_lm import Tokenizer, backend_of, embedding_of, head_of
from patchpm.model.loaded import LoadedPatch
from patchpm.model.virtual_embedding import VirtualEmbedding
from patchpm.model.virtual_tokens import refuse_second_time
from patchpm.patch.fingerprint import Fingerprint


def attach(
    model: nn.Module,
    tokenizer: Tokenizer,
    patches: Sequence[LoadedPatch],
    *,
    anchor: str = "system-start",
    found: Fingerprint | None = None,
) -> Applied:
    """Apply patches, in the order given, to a model and its tokenizer; both are changed in place and stay in use.

    After it, everything that goes through the tokenizer carries the prefix: `apply_chat_template` at `system-start`,
    and `tokenizer(text)` at `text-start`. A forward that starts a sequence without it is refused, as long as the model
    is called as a module or through `generate` (`model.forward(...)` itself runs no hook). If anything fails, model and
    tokenizer are left as they were.

    Args:
        model: A causal language model of `transformers`, on any device, of any float type.
        tokenizer: Its fast tokenizer.
        patches: Verified patches for this model.
        anchor: Where the prefix stands, `system-start` or `text-start`.
        found: The model's fingerprint where the caller knows it (assurance `cached`); None to hash the weights now.

    Returns:
        The handle: a context manager with `use`, `disabled`, `verify` and `remove`.

    Raises:
        UsageError: `no-patches`, `duplicate-patch`, `unknown-anchor`, `anchor-not-trained`, `already-applied`.
        IntegrityError: `base-mismatch`, `tokenizer-mismatch`, `template-mismatch`, `patch-ineffective`.
        CannotError: `anchor-not-found`, `tokenizer-unsupported`, `model-unsupported`.
    """
    check_set(patches, anchor)
    head_of(model)
    backend_of(tokenizer)
    refuse_second_time(tokenizer, model_is_virtual=isinstance(embedding_of(model), VirtualEmbedding))
    check_base(model, tokenizer, patches, anchor, found)
    with ExitStack() as undo:
        applied = undo.enter_context(Applied(model, tokenizer, patches, anchor))
        applied.verify()
        undo.pop_all()
    return applied
