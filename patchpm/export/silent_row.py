"""A row for the head that the model never chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from patchpm.export.tensor_bytes import tensor_from
from patchpm.model.stored_tensor import StoredTensor, read_exactly, reading

if TYPE_CHECKING:
    import torch

_ROWS: Final = 4096
_CHUNK: Final = 256


def silent_row(head: StoredTensor, tokens: int) -> torch.Tensor:
    """The mean of the head's rows of the rarest tokens.

    Args:
        head: `(rows, width)`.
        tokens: Tokens of the base's vocabulary, in the order in which it was learned.

    Returns:
        `(width,)`, float32.
    """
    import torch

    total = torch.zeros(head.shape[1], dtype=torch.float64)
    end = min(tokens, head.shape[0])
    begin = max(0, end - _ROWS)
    size = head.size // head.shape[0]
    with reading(head.path), head.path.open("rb", buffering=0) as file:
        for row in range(begin, end, _CHUNK):
            count = min(_CHUNK, end - row)
            data = read_exactly(file.fileno(), count * size, head.offset + row * size, head.path)
            total += tensor_from(data, head.dtype).view(count, -1).double().sum(0)
    return (total / (end - begin)).float()
