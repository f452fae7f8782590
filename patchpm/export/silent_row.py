"""A row for the head that the model does not choose, found in the head itself, without running the model.

A vocabulary is learned from the most frequent piece of text to the rarest, so its order says how rare a token is.
Wherever a model stands in a text, it gives its rare tokens smaller logits than its common ones on average. The
difference of the two averages is a linear function of the hidden state, and so a direction in the head. The row is

    (rare + common) / 2 + 6 * (rare - common)

where `rare` and `common` are the mean rows of the last and the first twelfth of the vocabulary. The first term alone
has a probability below 2 / (tokens / 12) at every position (a mean of logits is at most the logarithm of the mean of
their exponentials); the second makes it smaller by orders of magnitude. It needs the order to mean something: if the
odd and the even tokens do not agree on the direction, only the first term is taken.

Measured on SmolLM2-135M-Instruct, as the probability of all of 150 such rows together; "hard" is text of rare words
only, repeated, and control tokens in a row:

    row                                     chat, 3,502 positions    other text, 6,111     hard, 894
    zeros                                   mean 7e-4   max 2e-1     mean 3e-3   max 8e-1  max 2e-3
    an unused control token's               mean 2e-4   max 3e-2     mean 2e-5   max 8e-3  max 3e-2
    the rarest token's, found by running    mean 1e-7   max 1e-5     mean 7e-8   max 2e-4  max 6e-3
    this one                                mean 5e-11  max 3e-8     mean 2e-10  max 7e-7  max 1e-5
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from patchpm.export.tensor_bytes import tensor_from
from patchpm.model.stored_tensor import StoredTensor, read_exactly

if TYPE_CHECKING:
    import torch

Numbers = Callable[[bytes], "torch.Tensor"]
"""Turns the bytes of some rows into numbers, one after the other."""
_SHARE: Final = 12
_STEPS: Final = 6
_AGREED: Final = 0.5
_CHUNK: Final = 512


def silent_row(head: StoredTensor, rows: int, tokens: int, numbers: Numbers | None = None) -> torch.Tensor:
    """The row that is not chosen, for a head.

    Args:
        head: Its rows lie one after the other.
        rows: How many it has.
        tokens: Tokens of the base's vocabulary, in the order in which they were learned; the rows behind them are
            nobody's.
        numbers: How to read a row; None for the number types of safetensors.

    Returns:
        `(hidden_size,)`, float32.

    Raises:
        IntegrityError: `truncated-weights`.
    """
    import torch

    read = numbers or (lambda data: tensor_from(data, head.dtype))
    tokens = min(tokens, rows)
    share = max(2, tokens // _SHARE)
    size = head.size // rows
    common, rare = (_means(head, size, read, begin, begin + share) for begin in (0, tokens - share))
    away = rare - common
    row = (rare + common).mean(0) / 2
    if float(torch.nn.functional.cosine_similarity(away[0], away[1], dim=0)) > _AGREED:
        row = row + _STEPS * away.mean(0)
    return row.float()


def _means(head: StoredTensor, size: int, numbers: Numbers, begin: int, end: int) -> torch.Tensor:
    """The mean of the even and of the odd rows, `(2, hidden_size)`, float64; `size` is that of a row in bytes."""
    import torch

    sums: list[torch.Tensor] = []
    with head.path.open("rb", buffering=0) as file:
        for row in range(begin, end, _CHUNK):
            count = min(_CHUNK, end - row)
            data = read_exactly(file.fileno(), count * size, head.offset + row * size, head.path)
            rows = numbers(data).view(count, -1).double()
            sums = [rows[half::2].sum(0) + (sums[half] if sums else 0) for half in (0, 1)]
    counts = ((end - begin + 1) // 2, (end - begin) // 2)
    return torch.stack([total / count for total, count in zip(sums, counts, strict=True)])
