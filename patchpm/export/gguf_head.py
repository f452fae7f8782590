"""The row of a GGUF model's head that the model never chooses, in the head's own number type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from patchpm.export.silent_row import silent_row
from patchpm.export.splice import Copy, Literal, Piece, numbers_of
from patchpm.model.stored_tensor import StoredTensor, read_exactly

if TYPE_CHECKING:
    import numpy as np
    import torch

_NEAR: Final = 4096
_CHUNK: Final = 256
_WRITABLE: Final = ("F32", "F16", "BF16", "Q8_0")
"""Types in which a row keeps its direction. For a coarser one, the rare token's row closest to it in direction is
copied."""


def silent_piece(head: StoredTensor, tokens: int) -> Piece:
    """The bytes of `patchpm.export.silent_row`, or of what is closest to it.

    Args:
        head: One row a token, in its last dimension.
        tokens: Tokens of the vocabulary that are in use, in the order in which they were learned.

    Raises:
        IntegrityError: `truncated-weights`.
        CannotError: `type-unsupported`.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, quants

    def numbers(data: bytes) -> torch.Tensor:
        import torch

        return torch.from_numpy(numbers_of(data, head.dtype).copy())

    row = silent_row(head, head.shape[-1], tokens, numbers).numpy()
    if head.dtype in _WRITABLE:
        return Literal(quants.quantize(row, GGMLQuantizationType[head.dtype]).tobytes())
    begin, width = max(0, tokens - _NEAR), head.size // head.shape[-1]
    closeness = [
        (chunk @ row) / np.maximum(np.linalg.norm(chunk, axis=1), 1e-20) for chunk in _rows(head, width, begin, tokens)
    ]
    return Copy(head.offset + (begin + int(np.concatenate(closeness).argmax())) * width, width)


def _rows(head: StoredTensor, width: int, begin: int, end: int) -> Iterator[np.ndarray]:
    """Some rows at a time, `(rows, hidden_size)`, float32."""
    with head.path.open("rb", buffering=0) as file:
        for row in range(begin, end, _CHUNK):
            count = min(_CHUNK, end - row)
            data = read_exactly(file.fileno(), count * width, head.offset + row * width, head.path)
            yield numbers_of(data, head.dtype).reshape(count, -1)
