"""Gradient descent on a prefix: AdamW, warm-up and cosine, checkpoints, and a stop when numbers break."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from patchpm.errors import CannotError
from patchpm.train.checkpoint import Checkpoint, save_checkpoint

WARM_UP = 5
"""Steps over which the learning rate rises."""
CLIP = 1.0
"""Largest norm of a gradient."""
EVERY = 10
"""Steps between checkpoints."""
Report = Callable[[str, int, int, dict[str, float]], None]
"""Called after every step with stage, steps done, steps in all, and the parts of the loss."""


class Stage(Protocol):
    """What is minimised."""

    name: str
    steps: int
    rate: float

    def loss(self, prefix: Tensor, step: int) -> dict[str, Tensor]:
        """The parts of the loss of a step, counted from 0."""


def descend(stage: Stage, state: Checkpoint, path: Path, report: Report) -> Tensor:
    """Run a stage to its end from where a checkpoint stands.

    Args:
        stage: What is minimised.
        state: Where it stands: the starting prefix, or a checkpoint of this stage.
        path: The checkpoint's file, rewritten every `EVERY` steps.
        report: Told after every step.

    Returns:
        The prefix, `(tokens, hidden_size)` float32.

    Raises:
        CannotError: `training-diverged` where a loss or a gradient is not finite; the last checkpoint stays.
    """
    prefix = state.prefix.clone().requires_grad_(True)
    optimiser = torch.optim.AdamW([prefix], lr=stage.rate, weight_decay=0.0)
    if state.step:
        optimiser.state[prefix] = {
            "step": torch.tensor(float(state.step)),
            "exp_avg": state.mean.clone(),
            "exp_avg_sq": state.square.clone(),
        }
    for step in range(state.step, stage.steps):
        optimiser.param_groups[0]["lr"] = stage.rate * _share(step, stage.steps)
        parts = stage.loss(prefix, step)
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack(list(parts.values())).sum())
        norm = float(torch.nn.utils.clip_grad_norm_([prefix], CLIP))
        figures = {name: float(part.detach()) for name, part in parts.items()}
        if not all(math.isfinite(figure) for figure in (norm, *figures.values())):
            raise CannotError(
                "training-diverged",
                f"training broke in step {step + 1} of {stage.name}: a number is not finite",
                why=f"{path.name} holds the last good state",
                next="lower the learning rate in the recipe",
            )
        optimiser.step()
        report(stage.name, step + 1, stage.steps, figures)
        if (step + 1) % EVERY == 0 or step + 1 == stage.steps:
            moments = optimiser.state[prefix]
            save_checkpoint(path, state.after(step + 1, prefix.detach(), moments["exp_avg"], moments["exp_avg_sq"]))
    return prefix.detach()


def _share(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step."""
    if step < WARM_UP:
        return (step + 1) / (WARM_UP + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP)))
