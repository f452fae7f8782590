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

from typing import TYPE_CHECKING, Final

from patchpm.export.tensor_bytes import tensor_from
from patchpm.model.stored_tensor import StoredTensor, read_exactly, reading

if TYPE_CHECKING:
    import torch

_SHARE: Final = 12
_STEPS: Final = 6
_AGREED: Final = 0.5
_CHUNK: Final = 512


def silent_row(head: StoredTensor, tokens: int) -> torch.Tensor:
    """The row that is not chosen, for a head.

    Args:
        head: `(rows, width)`.
        tokens: Tokens of the base's vocabulary; the rows behind them are nobody's.

    Returns:
        `(width,)`, float32.
    """
    import torch

    tokens = min(tokens, head.shape[0])
    share = max(2, tokens // _SHARE)
    common, rare = _means(head, 0, share), _means(head, tokens - share, tokens)
    away = rare - common
    row = (rare + common).mean(0) / 2
    if float(torch.nn.functional.cosine_similarity(away[0], away[1], dim=0)) > _AGREED:
        row = row + _STEPS * away.mean(0)
    return row.float()


def _means(head: StoredTensor, begin: int, end: int) -> torch.Tensor:
    """The mean of the even and of the odd rows, `(2, width)`, float64."""
    import torch

    size = head.size // head.shape[0]
    total = torch.zeros(2, head.shape[1], dtype=torch.float64)
    counts = torch.zeros(2, 1, dtype=torch.float64)
    with reading(head.path), head.path.open("rb", buffering=0) as file:
        for row in range(begin, end, _CHUNK):
            count = min(_CHUNK, end - row)
            data = read_exactly(file.fileno(), count * size, head.offset + row * size, head.path)
            rows = tensor_from(data, head.dtype).view(count, -1).double()
            for half in (0, 1):
                total[half] += rows[half::2].sum(0)
                counts[half] += len(rows[half::2])
    return total / counts
