from __future__ import annotations

from pathlib import Path

import pytest
import torch

from patchpm.errors import CannotError
from patchpm.train.checkpoint import Checkpoint, load_checkpoint
from patchpm.train.loop import EVERY, descend

RUN = "0" * 64


class Bowl:
    """A stage whose lowest point is known, with a new slope each step; breaks at a step if asked to."""

    name = "sft"
    steps = 40
    rate = 0.1

    def __init__(self, *, breaks_at: int | None = None, stops_at: int | None = None) -> None:
        self.breaks_at = breaks_at
        self.stops_at = stops_at

    def loss(self, prefix: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        if step == self.stops_at:
            raise KeyboardInterrupt
        noise = torch.randn(prefix.shape, generator=torch.Generator().manual_seed(step)) * 0.01
        scale = float("nan") if step == self.breaks_at else 1.0
        return {"bowl": ((prefix - 1 + noise) ** 2).sum() * scale}


def start() -> Checkpoint:
    return Checkpoint.start(RUN, "sft", torch.zeros(2, 3))


def silent(_stage: str, _done: int, _total: int, _parts: dict[str, float]) -> None:
    """Show nothing."""


def test_descending_reaches_the_lowest_point(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    prefix = descend(Bowl(), start(), tmp_path / "c", lambda *report: seen.append(report[:3]))
    assert (prefix - 1).abs().max() < 0.1
    assert seen == [("sft", step, 40) for step in range(1, 41)]


def test_a_run_stopped_anywhere_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole = descend(Bowl(), start(), tmp_path / "whole", silent)
    path = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        descend(Bowl(stops_at=2 * EVERY + 3), start(), path, silent)
    state = load_checkpoint(path, RUN)
    assert state is not None
    assert state.step == 2 * EVERY
    assert torch.equal(descend(Bowl(), state, path, silent), whole)


def test_training_stops_at_the_first_number_that_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with pytest.raises(CannotError) as caught:
        descend(Bowl(breaks_at=EVERY + 2), start(), path, silent)
    assert caught.value.code == "training-diverged"
    assert f"step {EVERY + 3}" in caught.value.what
    state = load_checkpoint(path, RUN)
    assert state is not None
    assert state.step == EVERY
    assert state.prefix.isfinite().all()


def test_a_checkpoint_of_another_run_or_with_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    assert load_checkpoint(path, RUN) is None
    descend(Bowl(), start(), path, silent)
    with pytest.raises(CannotError) as caught:
        load_checkpoint(path, "1" * 64)
    assert caught.value.code == "foreign-checkpoint"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CannotError) as caught:
        load_checkpoint(path, RUN)
    assert caught.value.code == "foreign-checkpoint"
