"""`prefix.safetensors` to a tensor and back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from patchpm.errors import IntegrityError, UsageError
from patchpm.patch.prefix import PrefixMatrix, inspect_prefix, write_prefix


def read_matrix(path: Path, hidden_size: int) -> Tensor:
    """Read `prefix.safetensors` as `(tokens, hidden_size)` float32.

    Raises:
        UsageError: `prefix-not-found`.
        IntegrityError: `malformed-prefix`, also where its width is not the base's.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError("prefix-not-found", f"cannot read {path}", why=str(error.strerror)) from error
    matrix = inspect_prefix(data)
    if matrix.hidden_size != hidden_size:
        raise IntegrityError(
            "malformed-prefix",
            f"the prefix {path.name} does not fit this base model",
            why=f"its rows have {matrix.hidden_size} numbers, the model's embeddings {hidden_size}",
        )
    return torch.tensor(matrix.rows(), dtype=torch.float32)


def prefix_file(prefix: Tensor) -> bytes:
    """The bytes of `prefix.safetensors`."""
    tokens, width = prefix.shape
    return write_prefix(PrefixMatrix("F32", tokens, width, prefix.cpu().contiguous().numpy().astype("<f4").tobytes()))
