"""Numbers as safetensors files hold them, and back."""

from __future__ import annotations

import sys
from typing import Final

import torch

DTYPES: Final = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Number types that the rows of a patch can be written in, by the names that the format gives them."""


def bytes_of(tensor: torch.Tensor, dtype: str) -> bytes:
    """The numbers of `tensor` in another type, little-endian."""
    raw = tensor.detach().to(device="cpu", dtype=DTYPES[dtype]).contiguous().reshape(-1, 1).view(torch.uint8)
    if sys.byteorder == "big":
        raw = raw.flip(1)
    return raw.numpy().tobytes()


def tensor_from(data: bytes, dtype: str) -> torch.Tensor:
    """The numbers in `data`, in one row."""
    raw = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(-1, DTYPES[dtype].itemsize)
    if sys.byteorder == "big":
        raw = raw.flip(1).contiguous()
    return raw.reshape(-1).view(DTYPES[dtype])
