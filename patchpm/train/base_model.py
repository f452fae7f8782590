"""Loading the base model that a prefix is trained on."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from patchpm.errors import UsageError
from patchpm.patch.digest import Digest
from patchpm.train.framing import frame
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.team import Team

FLOAT32, BFLOAT16, AUTO = "float32", "bfloat16", "auto"
_WORTH = 1.5
"""How many times faster bfloat16 must be to be chosen by itself."""


def load_model(base: Path, *, separator: str = "", precision: str = FLOAT32) -> PrefixModel:
    """Load a base model, frozen, on the GPU where there is one.

    In `bfloat16` the weights of linear layers are rounded and multiplied in that type; sums, norms, embeddings and the
    prefix stay float32.

    Args:
        base: Folder of the base model (`transformers` format).
        separator: Text between the prefix and what follows it.
        precision: `float32`, `bfloat16`, or `auto` for the faster one here.

    Raises:
        UsageError: `base-not-found`.
        CannotError: `anchor-not-found`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = Team().device
    # On a CPU plain matrix products are faster than the fused attention, whose backward pass is slow.
    attention = "eager" if device.type == "cpu" else "sdpa"
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, local_files_only=True, attn_implementation=attention
        )
    except (OSError, ValueError) as error:
        raise UsageError("base-not-found", f"{base} cannot be loaded as a base model", why=str(error)[:500]) from error
    model.requires_grad_(False)
    half = precision == BFLOAT16 or (precision == AUTO and bfloat16_is_faster(device))
    if half:
        _round_linear(model)
    return PrefixModel(cast("Any", model).to(device), frame(tokenizer, separator), half=half)


def bfloat16_is_faster(device: torch.device) -> bool:
    """Whether this machine multiplies bfloat16 matrices much faster than float32 ones; takes some milliseconds."""
    if device.type != "cpu":
        return True
    left, right = torch.randn(512, 576), torch.randn(1536, 576)
    times = {}
    for dtype in (torch.float32, torch.bfloat16):
        one, other = left.to(dtype), right.to(dtype)
        functional.linear(one, other)
        started = time.perf_counter()
        for _ in range(5):
            functional.linear(one, other)
        times[dtype] = time.perf_counter() - started
    return times[torch.float32] > _WORTH * times[torch.bfloat16]


def weights_digest(base: Path) -> Digest:
    """SHA-256 over the names and digests of a folder's weight and tokenizer files.

    Raises:
        UsageError: `base-not-found`.
    """
    files = sorted([*base.glob("*.safetensors"), *base.glob("tokenizer*.json"), *base.glob("chat_template*")])
    if not any(path.suffix == ".safetensors" for path in files):
        raise UsageError("base-not-found", f"{base} has no safetensors weights", next="name the folder of a base model")
    lines = []
    for path in files:
        with path.open("rb") as file:
            lines.append(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n")
    return Digest.of("".join(lines).encode())


def _round_linear(model: nn.Module) -> None:
    """Round every linear layer; a head that shares the embedding's matrix gets one of its own."""
    embedding = cast("Any", model).get_input_embeddings()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            if module.weight is embedding.weight:
                module.weight = nn.Parameter(module.weight.bfloat16(), requires_grad=False)
            else:
                module.weight.data = module.weight.data.bfloat16()
