"""Rounding to bfloat16, so that a bf16 file and its copies in wider numbers can be told to be the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from patchpm.errors import CannotError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROUNDED: Final = ("BF16", "F16", "F32", "F64")
"""Dtypes, as safetensors names them, that count as float here. 8-bit floats are quantised weights and do not."""
_NAN: Final = 0x7FC0


def rounder(dtype: str) -> Callable[[bytes | memoryview], bytes | memoryview]:
    """Give the function that turns little-endian numbers of `dtype` into little-endian bfloat16.

    Rounding is to the nearest, ties to even. F16 goes through F32, which is exact; F64 is rounded to F32 first, as
    every tensor library does. A NaN becomes `0x7FC0`, whatever its sign and payload. BF16 is left as it is and needs
    no numpy.

    Args:
        dtype: One of `ROUNDED`. The bytes must hold whole numbers.

    Raises:
        CannotError: `numpy-missing` where rounding needs numpy and it is not installed.
    """
    if dtype == "BF16":
        return lambda data: data
    try:
        import numpy as np
    except ImportError as error:
        raise CannotError(
            "numpy-missing",
            f"Comparing {dtype} weights needs numpy",
            why="they are rounded to bfloat16, so that copies in other precisions are recognised",
            next="pip install 'patchpm[model]'",
        ) from error
    source = np.dtype({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype])
    return lambda data: _round(np.frombuffer(data, dtype=source)).data.cast("B")


def _round(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        single = values.astype("<f4", copy=False)
    bits = single.view("<u4")
    # The upper half grows by one exactly where the lower half is over a half, or is one half and the upper half is odd.
    sums = bits >> 16
    sums &= 1
    sums += 0x7FFF
    sums += bits
    sums >>= 16
    rounded = sums.astype("<u2")
    lost = np.isnan(single)
    if lost.any():
        rounded[lost] = _NAN
    return rounded
