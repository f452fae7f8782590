"""Several processes, one on each GPU, that train one prefix together; mostly there is just one.

They are started by `accelerate launch -m patchpm train ...`. Each reads its share of every batch; gradients are
averaged, so all of them hold the same prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

_T = TypeVar("_T")


class Team:
    """This process among the others."""

    def __init__(self) -> None:
        from accelerate import PartialState

        # Without an accelerator processes find each other only if they are told that they work on the CPU.
        state = PartialState(cpu=not torch.accelerator.is_available())
        self.device: torch.device = state.device
        self.rank: int = state.process_index
        self.size: int = state.num_processes
        self.leads: bool = state.is_main_process

    def share(self, batch: Sequence[_T]) -> list[_T]:
        """The part of a batch that this process reads; never empty: a batch that is too small is read by all."""
        return list(batch[self.rank :: self.size]) if len(batch) >= self.size else list(batch)

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.size == 1:
            return tensor
        from accelerate.utils import reduce

        return cast("Tensor", cast("Any", reduce)(tensor, reduction="mean"))

    def agree(self, figure: float) -> float:
        """One figure for all: what each of them decides by must not differ by a rounding."""
        return figure if self.size == 1 else float(self.mean(torch.tensor(figure, device=self.device)))

    def wait(self) -> None:
        """Let the others catch up."""
        if self.size > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()
