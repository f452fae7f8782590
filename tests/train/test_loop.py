from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from patchpm.errors import CannotError
from patchpm.train.checkpoint import Checkpoint, load_checkpoint
from patchpm.train.loop import DIVERGED, EVERY, WARM_UP, descend
from patchpm.train.recipe import StopRecipe
from patchpm.train.team import Team

RUN = "0" * 64
NEVER = StopRecipe(every=0, patience=1)


class Bowl:
    """A stage whose lowest point is known, with a new slope each step; breaks at a step if asked to."""

    name = "sft"
    rate = 0.1

    def __init__(
        self,
        *,
        steps: int = 40,
        breaks_at: int | None = None,
        stops_at: int | None = None,
        figures: list[float] | None = None,
    ) -> None:
        self.steps = steps
        self.breaks_at = breaks_at
        self.stops_at = stops_at
        self.figures = figures
        self.seen: list[torch.Tensor] = []
        """What the dev rows were asked about; the start is the first."""

    def loss(self, prefix: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        if step == self.stops_at:
            raise KeyboardInterrupt
        noise = torch.randn(prefix.shape, generator=torch.Generator().manual_seed(step)) * 0.01
        scale = float("nan") if step == self.breaks_at else 1.0
        return {"bowl": ((prefix - 1 + noise) ** 2).sum() * scale}

    def dev(self, prefix: torch.Tensor) -> float:
        self.seen.append(prefix.clone())
        if self.figures is None:
            return float(((prefix - 0.5) ** 2).sum())
        return self.figures[min(len(self.seen), len(self.figures)) - 1]


def start() -> Checkpoint:
    return Checkpoint.start(RUN, "sft", torch.zeros(2, 3))


def silent(_stage: str, _done: int, _total: int, _figures: dict[str, float]) -> None:
    """Show nothing."""


def run(stage: Bowl, path: Path, stop: StopRecipe = NEVER, state: Checkpoint | None = None) -> torch.Tensor:
    return descend(stage, state or start(), path, silent, stop, Team())


def test_descending_reaches_the_lowest_point(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    prefix = descend(Bowl(), start(), tmp_path / "c", lambda *report: seen.append(report[:3]), NEVER, Team())
    assert (prefix - 1).abs().max() < 0.1
    assert seen == [("sft", step, 40) for step in range(1, 41)]


def test_the_rate_rises_over_the_first_steps_and_then_falls_to_nothing(tmp_path: Path) -> None:
    rates: list[float] = []
    descend(Bowl(), start(), tmp_path / "c", lambda *report: rates.append(report[3]["rate"]), NEVER, Team())
    peak = rates.index(max(rates))
    assert peak == WARM_UP
    assert rates[peak] == pytest.approx(Bowl.rate)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 0.01 * Bowl.rate


@pytest.mark.parametrize("stop", [NEVER, StopRecipe(every=4, patience=3), StopRecipe(every=7, patience=99)])
def test_a_run_stopped_anywhere_goes_on_to_the_same_numbers(tmp_path: Path, stop: StopRecipe) -> None:
    whole = run(Bowl(), tmp_path / "whole", stop)
    for place in (0, 5, EVERY - 1, EVERY, 2 * EVERY + 3, 35):
        path = tmp_path / f"stopped{place}"
        try:
            found = run(Bowl(stops_at=place), path, stop)
        except KeyboardInterrupt:
            state = load_checkpoint(path, RUN)
            assert state is None or state.step <= place
            found = run(Bowl(), path, stop, state)
        assert torch.equal(found, whole), place


def test_a_checkpoint_is_written_every_few_steps(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        run(Bowl(stops_at=2 * EVERY + 3), path)
    state = load_checkpoint(path, RUN)
    assert state is not None
    assert (state.stage, state.step) == ("sft", 2 * EVERY)


def test_the_best_prefix_on_the_dev_rows_is_the_result_and_not_the_last(tmp_path: Path) -> None:
    stage = Bowl()
    best = run(stage, tmp_path / "c", StopRecipe(every=2, patience=99))
    last = run(Bowl(), tmp_path / "last")
    figures = [float(((prefix - 0.5) ** 2).sum()) for prefix in stage.seen[1:]]
    assert len(figures) == 20
    assert torch.equal(best, stage.seen[1 + figures.index(min(figures))])
    assert figures.index(min(figures)) < 19
    assert (last - 1).abs().max() < 0.1


def test_a_stage_ends_when_the_figure_was_not_better_for_as_long_as_asked(tmp_path: Path) -> None:
    seen: list[int] = []
    stage = Bowl(figures=[9, 5, 3, 4, 3, 2.9, 6, 6, 6, 1])
    best = descend(
        stage, start(), tmp_path / "c", lambda *report: seen.append(report[1]), StopRecipe(every=2, patience=3), Team()
    )
    assert seen[-1] == 16  # eight looks: the one with 2.9 is the fifth, and the next three are no better
    assert torch.equal(best, stage.seen[5])


def test_a_stage_that_ended_early_does_not_go_on_when_started_again(tmp_path: Path) -> None:
    stop = StopRecipe(every=2, patience=1)
    best = run(Bowl(figures=[9, 5, 6]), tmp_path / "c", stop)
    state = load_checkpoint(tmp_path / "c", RUN)
    assert state is not None
    assert (state.step, state.stale, state.figure) == (4, 1, 5.0)
    again = Bowl(figures=[9, 1])
    assert torch.equal(run(again, tmp_path / "c", stop, state), best)
    assert len(again.seen) == 1


def test_the_last_step_is_looked_at_too(tmp_path: Path) -> None:
    stage = Bowl(steps=11, figures=[9, 5, 4, 3])
    best = run(stage, tmp_path / "c", StopRecipe(every=5, patience=9))
    assert len(stage.seen) == 4
    assert torch.equal(best, stage.seen[-1])


def test_training_stops_at_the_first_number_that_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with pytest.raises(CannotError) as caught:
        run(Bowl(breaks_at=EVERY + 2), path)
    assert caught.value.code == "training-diverged"
    assert f"step {EVERY + 3}" in caught.value.what
    state = load_checkpoint(path, RUN)
    assert state is not None
    assert state.step == EVERY
    assert state.prefix.isfinite().all()


@pytest.mark.parametrize("figure", [DIVERGED * 2.0, math.nan, math.inf])
def test_training_stops_where_the_dev_rows_are_far_worse_than_at_the_start(tmp_path: Path, figure: float) -> None:
    with pytest.raises(CannotError) as caught:
        run(Bowl(figures=[2.0, 1.0, figure]), tmp_path / "c", StopRecipe(every=4, patience=9))
    assert caught.value.code == "training-diverged"
    assert "step 8 of sft" in caught.value.what
    run(Bowl(figures=[2.0, 1.0, DIVERGED * 2.0 - 0.1]), tmp_path / "d", StopRecipe(every=4, patience=9))


def test_a_checkpoint_holds_everything_to_the_last_bit(tmp_path: Path) -> None:
    run(Bowl(), tmp_path / "c", StopRecipe(every=3, patience=99))
    state = load_checkpoint(tmp_path / "c", RUN)
    assert state is not None
    assert state.step == 40
    assert state.figure < math.inf
    assert not torch.equal(state.best, state.prefix)
    assert torch.equal(state.reference, torch.zeros(2, 3))
    assert min(float(tensor.abs().min()) for tensor in (state.mean, state.square)) > 0


def test_a_checkpoint_of_another_run_or_with_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    assert load_checkpoint(path, RUN) is None
    run(Bowl(), path)
    with pytest.raises(CannotError) as caught:
        load_checkpoint(path, "1" * 64)
    assert caught.value.code == "foreign-checkpoint"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CannotError) as caught:
        load_checkpoint(path, RUN)
    assert caught.value.code == "foreign-checkpoint"
