"""The model's side of a virtual vocabulary: more ids in, none of them ever out.

Ids from `first` on read the rows of the patches; the logits of those ids are the dtype's minimum, so they are never
sampled, and every size that `generate` or a loss reads says the larger vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from patchpm.errors import IntegrityError, UsageError
from patchpm.model.causal_lm import embedding_of, head_of, text_config_of, vocab_owners
from patchpm.model.virtual_embedding import VirtualEmbedding, restore, virtualise

_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
"""Settings of models that squash their logits behind the head, the minimum too: there the ids are closed once more."""


class VirtualVocabulary:
    """The changes to one model, and the way back.

    Args:
        model: A causal language model of `transformers`; changed in place.
        rows: All rows of all patches, `(n, hidden_size)`.
        first: The id of row 0.
    """

    def __init__(self, model: nn.Module, rows: torch.Tensor, first: int) -> None:
        self._model = model
        self.first = first
        """The id of row 0."""
        self.end = first + int(rows.shape[0])
        """One more than the id of the last row."""
        self._rows = rows.detach().cpu().clone()
        self._sizes = [(owner, int(owner.vocab_size)) for owner in vocab_owners(model)]
        self._generation = getattr(model, "generation_config", None)
        self._suppressed = getattr(self._generation, "suppress_tokens", None)
        self._head = head_of(model)
        self._embedding = virtualise(embedding_of(model), rows, first)
        self._hooks = [self._head.register_forward_hook(self._close)]
        if any(getattr(text_config_of(model), name, None) is not None for name in _CAPS):
            self._hooks.append(model.register_forward_hook(self._close_again))
        refuse_saving(model, "model")
        self._active = True
        self.switch(on=True)

    def switch(self, *, on: bool) -> None:
        """Show the larger vocabulary, or the base's own."""
        self._active = self._embedding.patchpm_active = on
        for owner, size in self._sizes:
            owner.vocab_size = max(size, self.end) if on else size
        if self._generation is not None:
            # Prompt lookup proposes what stands in the prompt, prefix ids too; it asks this list what is forbidden.
            ours = list(range(self.first, self.end))
            self._generation.suppress_tokens = [*(self._suppressed or ()), *ours] if on else self._suppressed

    def check(self) -> None:
        """Make sure that everything put on the model is still there.

        Raises:
            IntegrityError: `patch-removed`, or `rows-changed` where the rows differ in any bit.
        """
        embedding = embedding_of(self._model)
        if embedding is not self._embedding or not isinstance(embedding, VirtualEmbedding):
            raise _gone("the embedding is another module")
        if head_of(self._model) is not self._head or not all(in_place(hook) for hook in self._hooks):
            raise _gone("the hook on the model's head is gone")
        if any(owner.vocab_size != max(size, self.end) for owner, size in self._sizes):
            raise _gone("the configuration states another size of the vocabulary")
        rows = embedding.patchpm_rows
        if embedding.patchpm_first != self.first or not torch.equal(rows.cpu(), self._rows.to(rows.dtype)):
            raise IntegrityError(
                "rows-changed",
                "the rows of a patch in the model are not the verified ones",
                why="something wrote to the patched embedding, or converted the model to fewer bits and back",
                next="load the model again and apply the patches to it",
            )

    def base_embed(self, ids: torch.Tensor) -> torch.Tensor:
        """What the base's own embedding gives for `ids`."""
        return self._embedding.patchpm_embed(ids)

    def rows(self) -> torch.Tensor:
        """The rows as the model has them."""
        return self._embedding.patchpm_rows

    def remove(self) -> None:
        """Take everything off."""
        self.switch(on=False)
        for hook in self._hooks:
            hook.remove()
        restore(self._embedding)
        del cast("Any", self._model).save_pretrained

    def _close(self, _module: nn.Module, _inputs: tuple[Any, ...], logits: torch.Tensor) -> torch.Tensor | None:
        """Widen the head's logits to the larger vocabulary and close the prefix ids."""
        if not self._active:
            return None
        least, size = torch.finfo(logits.dtype).min, logits.shape[-1]
        if size > self.first:
            logits[..., self.first : self.end] = least
        return functional.pad(logits, (0, max(0, self.end - size)), value=least)

    def _close_again(self, _module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        logits = output[0] if isinstance(output, tuple) else output.logits
        if self._active:
            logits[..., self.first : self.end] = torch.finfo(logits.dtype).min


def in_place(hook: RemovableHandle) -> bool:
    """Whether a hook is still registered."""
    hooks = hook.hooks_dict_ref()
    return hooks is not None and hook.id in hooks


def refuse_saving(owner: object, what: str) -> None:
    """Make `owner.save_pretrained` say why it cannot be saved while patches are applied."""

    def save_pretrained(*_arguments: object, **_options: object) -> None:
        raise UsageError(
            "save-while-applied",
            f"a patched {what} is not saved",
            why="the file would name tokens that exist in this process only",
            next="call remove() first, or use patchpm export",
        )

    refusal: Callable[..., None] = save_pretrained
    cast("Any", owner).save_pretrained = refusal


def _gone(why: str) -> IntegrityError:
    return IntegrityError(
        "patch-removed",
        "the patches are no longer in place on the model",
        why=why,
        next="apply them again, to a model that nothing else changes",
    )
