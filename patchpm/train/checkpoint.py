"""Where a training run stands, in one file that a kill at any instant leaves whole."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from patchpm.atomic_write import write_atomic
from patchpm.errors import CannotError

_TENSORS = ("prefix", "mean", "square", "reference", "best")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything a run needs to go on; the order of the data follows from the seed and the step."""

    run: str
    """Digest of recipe and base model: a checkpoint is good for one run only."""
    stage: str
    step: int
    """Steps of the stage that are done."""
    prefix: Tensor
    mean: Tensor
    """First moment of AdamW."""
    square: Tensor
    """Second moment of AdamW."""
    reference: Tensor
    """The prefix at the start of the stage."""
    best: Tensor
    """The prefix of the stage with the lowest figure on dev rows so far."""
    figure: float = math.inf
    """That figure."""
    stale: int = 0
    """Looks at the dev rows since."""

    @classmethod
    def start(cls, run: str, stage: str, prefix: Tensor) -> Checkpoint:
        """A stage not begun."""
        zeros = torch.zeros_like(prefix)
        return cls(run, stage, 0, prefix, zeros, zeros.clone(), prefix.clone(), prefix.clone())

    def after(self, step: int, prefix: Tensor, mean: Tensor, square: Tensor) -> Checkpoint:
        """The same run, further on."""
        return replace(self, step=step, prefix=prefix.clone(), mean=mean.clone(), square=square.clone())

    def looked(self, figure: float, prefix: Tensor) -> Checkpoint:
        """The same run after a look at the dev rows."""
        if figure < self.figure:
            return replace(self, best=prefix.clone(), figure=figure, stale=0)
        return replace(self, stale=self.stale + 1)


def save_checkpoint(path: Path, state: Checkpoint) -> None:
    """Write a checkpoint."""
    tensors = {name: getattr(state, name).contiguous() for name in _TENSORS}
    notes = {"run": state.run, "stage": state.stage, "step": str(state.step)}
    notes |= {"figure": repr(state.figure), "stale": str(state.stale)}
    write_atomic(path, bytes(save(tensors, metadata=notes)))


def load_checkpoint(path: Path, run: str) -> Checkpoint | None:
    """Read a checkpoint; None where there is none.

    Raises:
        CannotError: `foreign-checkpoint` for one of another recipe or base model, or one that is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
    except SafetensorError as error:
        raise _foreign(path, str(error)) from error
    if notes.get("run") != run:
        raise _foreign(path, "it was made with another recipe or another base model")
    return Checkpoint(
        run, notes["stage"], int(notes["step"]), **tensors, figure=float(notes["figure"]), stale=int(notes["stale"])
    )


def _foreign(path: Path, why: str) -> CannotError:
    return CannotError(
        "foreign-checkpoint",
        "the output folder holds a checkpoint that does not belong to this run",
        why=f"{path}: {why}",
        next="choose another output folder, or delete the checkpoint to start anew",
    )
