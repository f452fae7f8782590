"""Gradient descent on a prefix: AdamW, warm-up and cosine, checkpoints, and a stop when it is done or numbers break."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from patchpm.errors import CannotError
from patchpm.train.checkpoint import Checkpoint, save_checkpoint
from patchpm.train.recipe import StopRecipe
from patchpm.train.team import Team

WARM_UP = 5
"""Steps over which the learning rate rises."""
CLIP = 1.0
"""Largest norm of a gradient."""
EVERY = 10
"""Steps between checkpoints."""
DIVERGED = 5.0
"""How many times the first dev figure means that training went wrong."""
Report = Callable[[str, int, int, dict[str, float]], None]
"""Called after every step with stage, steps done, steps in all, and figures: parts of the loss, rate, steps/s."""


class Stage(Protocol):
    """What is minimised."""

    name: str
    steps: int
    rate: float

    def loss(self, prefix: Tensor, step: int) -> dict[str, Tensor]:
        """The parts of the loss of a step, counted from 0."""

    def dev(self, prefix: Tensor) -> float:
        """How good a prefix is on rows that are not trained on; lower is better."""


def descend(stage: Stage, state: Checkpoint, path: Path, report: Report, stop: StopRecipe, team: Team) -> Tensor:
    """Run a stage to its end from where a checkpoint stands.

    Args:
        stage: What is minimised.
        state: Where it stands: the starting prefix, or a checkpoint of this stage.
        path: The checkpoint's file, rewritten every `EVERY` steps.
        report: Told after every step.
        stop: How often to look at the dev rows, and for how long to go on without a better figure.
        team: The processes that train together.

    Returns:
        The best prefix on the dev rows, or the last one where nobody looks; `(tokens, hidden_size)` float32.

    Raises:
        CannotError: `training-diverged` where a loss or a gradient is not finite, or the dev figure far worse than at
            the start; the last checkpoint stays.
    """
    prefix = state.prefix.clone().to(team.device).requires_grad_(True)
    optimiser = torch.optim.AdamW([prefix], lr=stage.rate, weight_decay=0.0)
    if state.step:
        optimiser.state[prefix] = {
            "step": torch.tensor(float(state.step)),
            "exp_avg": state.mean.clone().to(team.device),
            "exp_avg_sq": state.square.clone().to(team.device),
        }
    worst = math.inf
    if stop.every and stage.steps:
        worst = DIVERGED * team.agree(stage.dev(state.reference.to(team.device)))
    for step in range(state.step, stage.steps):
        if stop.every and state.stale >= stop.patience:
            break
        started = time.monotonic()
        optimiser.param_groups[0]["lr"] = stage.rate * _share(step, stage.steps)
        figures = _step(stage, prefix, optimiser, step, path, team)
        figures |= {"rate": optimiser.param_groups[0]["lr"], "steps/s": 1 / (time.monotonic() - started)}
        last = step + 1 == stage.steps
        if stop.every and ((step + 1) % stop.every == 0 or last):
            figures["dev"] = team.agree(stage.dev(prefix.detach()))
            if not figures["dev"] < worst:
                raise _diverged(stage, step, path, f"the figure on dev rows is {figures['dev']:.3g}")
            state = state.looked(figures["dev"], prefix.detach().cpu())
        report(stage.name, step + 1, stage.steps, figures)
        if (step + 1) % EVERY == 0 or last or "dev" in figures:
            moments = optimiser.state[prefix]
            state = state.after(step + 1, prefix.detach().cpu(), moments["exp_avg"].cpu(), moments["exp_avg_sq"].cpu())
            if team.leads:
                save_checkpoint(path, state)
    return state.best if stop.every else prefix.detach().cpu()


def _step(
    stage: Stage, prefix: Tensor, optimiser: torch.optim.Optimizer, step: int, path: Path, team: Team
) -> dict[str, float]:
    """One step; returns the parts of the loss."""
    parts = stage.loss(prefix, step)
    optimiser.zero_grad()
    torch.autograd.backward(torch.stack(list(parts.values())).sum())
    if prefix.grad is not None:
        prefix.grad = team.mean(prefix.grad)
    norm = float(torch.nn.utils.clip_grad_norm_([prefix], CLIP))
    figures = {name: float(part.detach()) for name, part in parts.items()}
    if not all(math.isfinite(figure) for figure in (norm, *figures.values())):
        raise _diverged(stage, step, path, "a number is not finite")
    optimiser.step()
    return figures


def _diverged(stage: Stage, step: int, path: Path, what: str) -> CannotError:
    return CannotError(
        "training-diverged",
        f"training broke in step {step + 1} of {stage.name}: {what}",
        why=f"{path.name} holds the last good state",
        next="lower the learning rate in the recipe",
    )


def _share(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step."""
    if step < WARM_UP:
        return (step + 1) / (WARM_UP + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP)))
