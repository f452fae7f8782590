"""What the patched model shall say: hand-written refusals, and the base's own replies, computed once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from patchpm.atomic_write import write_atomic
from patchpm.patch.digest import Digest
from patchpm.train.greedy import Progress, Reply, end_tokens, greedy_replies
from patchpm.train.prefix_model import PrefixModel

TOP = 64
"""Of how many tokens the base's probability is kept at each place of a reply."""
_FORM = "patchpm-own-replies-v1"
_OPENERS = ("i'm sorry", "i am sorry", "sorry", "i can't", "i cannot", "i can not", "i'm unable", "i won't", "as an ai")


def opens_with_refusal(text: str) -> bool:
    """Whether a reply starts as refusals start.

    This judge chooses training rows only. What is claimed is counted by another one (`patchpm.evaluate.refusal`).
    """
    return text.lower().replace("\u2019", "'").lstrip().startswith(_OPENERS)


def refusal_ids(model: PrefixModel, refusals: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of the refusals, with the end of the turn."""
    end = sorted(end_tokens(model))[:1]
    return [(*model.frame.encode(text), *end) for text in refusals]


def own_replies(
    model: PrefixModel, base: Digest, prompts: Sequence[str], *, tokens: int, cache: Path, progress: Progress
) -> list[Reply]:
    """The base model's own greedy replies, with the likely tokens at each place.

    Args:
        model: The base.
        base: Identity of its weights, for the cache.
        prompts: User turns.
        tokens: Longest reply.
        cache: Folder of the user's cache.
        progress: Told after every batch, if something is to be computed.
    """
    question = [_FORM, base.hex, tokens, TOP, model.frame.head, model.frame.common, list(prompts)]
    key = hashlib.sha256(json.dumps(question).encode()).hexdigest()
    path = cache / "replies" / f"{key}.safetensors"
    found = _read(path)
    if found is None:
        replies = greedy_replies(model, None, prompts, tokens=tokens, progress=progress, top=TOP)
        write_atomic(path, _pack(replies))
        return replies
    return found


def _pack(replies: list[Reply]) -> bytes:
    tensors = {
        "lengths": torch.tensor([len(reply.ids) for reply in replies]),
        "ids": torch.tensor([token for reply in replies for token in reply.ids]),
        "top_ids": torch.cat([reply.top_ids for reply in replies]),
        "top_logs": torch.cat([reply.top_logs for reply in replies]),
    }
    return bytes(save(tensors))


def _read(path: Path) -> list[Reply] | None:
    """The cached replies, or None where there are none that can be read: a cache may be thrown away at any time."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {
                name: file.get_tensor(name) for name in ("lengths", "ids", "top_ids", "top_logs")
            }
    except SafetensorError:
        return None
    lengths = tensors["lengths"].tolist()
    parts = [torch.split(tensors[name], lengths) for name in ("ids", "top_ids", "top_logs")]
    return [Reply(tuple(ids.tolist()), top_ids, top_logs) for ids, top_ids, top_logs in zip(*parts, strict=True)]
