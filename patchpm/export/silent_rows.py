"""A row for a GGUF model's head that the model never chooses, from the rows of its rarest tokens.

A prefix token has a row in the head like any other. The logit of the mean of some rows is the mean of their logits, so
its probability is at most the geometric mean of theirs; the tokens that a vocabulary learned last are its rarest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from patchpm.export.splice import Copy, Literal, Piece
from patchpm.model.stored_tensor import StoredTensor, reading, truncated

if TYPE_CHECKING:
    import numpy as np

_ROWS: Final = 4096
_CHUNK: Final = 256
_WRITABLE: Final = ("F32", "F16", "BF16", "Q8_0")
"""Types in which the mean keeps its direction. For a coarser one, the row closest to it in direction is copied."""


def silent_row(head: StoredTensor, tokens: int) -> Piece:
    """The bytes of the row.

    Args:
        head: One row a token, in its last dimension.
        tokens: Tokens of the vocabulary that are in use, in the order in which they were learned.

    Raises:
        IntegrityError: `truncated-weights`.
        CannotError: `type-unsupported`, `unreadable-file`.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, quants

    width = head.size // head.shape[-1]
    begin = max(0, tokens - _ROWS)
    chunks: Callable[[], Iterator[np.ndarray]] = lambda: _rows(head, width, begin, tokens)  # noqa: E731
    mean = sum(chunk.sum(axis=0, dtype=np.float64) for chunk in chunks()) / (tokens - begin)
    if head.dtype in _WRITABLE:
        return Literal(quants.quantize(mean.astype(np.float32), GGMLQuantizationType[head.dtype]).tobytes())
    closeness = [(chunk @ mean) / np.maximum(np.linalg.norm(chunk, axis=1), 1e-20) for chunk in chunks()]
    return Copy(head.offset + (begin + int(np.concatenate(closeness).argmax())) * width, width)


def _rows(head: StoredTensor, width: int, begin: int, end: int) -> Iterator[np.ndarray]:
    """Some rows at a time, `(rows, hidden_size)`, float32."""
    from patchpm.export.splice import numbers_of

    with reading(head.path), head.path.open("rb") as file:
        file.seek(head.offset + begin * width)
        for row in range(begin, end, _CHUNK):
            count = min(_CHUNK, end - row)
            data = file.read(count * width)
            if len(data) < count * width:
                raise truncated(head.path, "it ends in the middle of the head")
            yield numbers_of(data, head.dtype).reshape(count, -1)
