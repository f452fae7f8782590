"""The proof by numbers: an export gives the logits of its base over the patches' rows as explicit embeddings."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import nn

from patchpm.errors import IntegrityError
from patchpm.export.provenance import read_provenance
from patchpm.model.causal_lm import Tokenizer, embedding_of
from patchpm.model.chat import load_model
from patchpm.model.conversation import PROBES
from patchpm.model.loaded import PatchSet

_TOLERANCE: Final = {torch.float32: 1e-3}
_HALF_TOLERANCE: Final = 2e-2


def largest_difference(folder: Path, base: Path, patches: PatchSet, *, device: str = "cpu") -> float:
    """Run the first probe conversation through the export, and through the base with explicit embeddings.

    Memory: one of the two models at a time.

    Args:
        folder: The export.
        base: The folder that it was made of.
        patches: The set that is in it.
        device: Where to run, as torch names it.

    Returns:
        The largest absolute difference between their logits, at any position.

    Raises:
        IntegrityError: `export-differs` where it is more than rounding, or the tokens of the patches are likelier
            than by blind chance.
        CannotError: `model-unreadable`, `no-provenance`.
    """
    found = read_provenance(folder)
    first, end = found.first_id, found.first_id + found.ids
    model, tokenizer = load_model(folder, device=device)
    ids = _probe(tokenizer)
    exported = _logits(model, input_ids=torch.tensor([ids], device=device))
    dtype = next(model.parameters()).dtype
    del model
    gc.collect()
    model, _ = load_model(base, device=device)
    rows = torch.cat([patch.rows.float() for patch in patches.patches])
    expected = _logits(model, inputs_embeds=_embedded(model, ids, rows, first)[None])
    vocabulary = torch.arange(exported.shape[1])
    ours = (vocabulary >= first) & (vocabulary < end)
    real = vocabulary[~ours & (vocabulary < expected.shape[1])]
    difference = float((exported[:, real] - expected[:, real]).abs().max())
    limit = _TOLERANCE.get(dtype, _HALF_TOLERANCE) * max(1.0, float(expected[:, real].abs().max()))
    if not difference <= limit:
        raise _differs(f"logits differ by {difference:.3g}; {limit:.3g} would be rounding")
    mass = float(exported.softmax(-1)[:, ours].sum(-1).max())
    if not mass <= found.ids / exported.shape[1]:
        raise _differs(f"it would say a token of the patches with probability {mass:.3g}")
    return difference


def _probe(tokenizer: Tokenizer) -> list[int]:
    for probe in PROBES:
        text = probe.render(tokenizer)
        if text is not None:
            return cast("list[int]", tokenizer(text, add_special_tokens=False)["input_ids"])
    raise _differs("its chat template renders no conversation at all")


def _embedded(model: nn.Module, ids: list[int], rows: torch.Tensor, first: int) -> torch.Tensor:
    """`(tokens, hidden_size)`: what the base makes of `ids`, with the rows in the place of their tokens."""
    tokens = torch.tensor(ids, device=next(model.parameters()).device)
    ours = (tokens >= first) & (tokens < first + rows.shape[0])
    with torch.no_grad():
        embedded: torch.Tensor = embedding_of(model)(tokens.masked_fill(ours, 0)).clone()
    embedded[ours] = rows.to(embedded)[tokens[ours] - first]
    return embedded


def _logits(model: nn.Module, **inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(**inputs, use_cache=False, return_dict=True).logits[0]
    return logits.float().cpu()


def _differs(why: str) -> IntegrityError:
    return IntegrityError(
        "export-differs",
        "the export does not give what the base gives with the patches as explicit embeddings",
        why=why,
        next="apply the patches in Python with patchpm.apply, and report the model with the version of transformers",
    )
