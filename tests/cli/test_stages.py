from __future__ import annotations

import pytest

from patchpm.cli.stages import LineProgress, stages


class Clock:
    """Stands still until it is put on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def told(*events: tuple[float, str, int, int], figures: dict[str, float] | None = None) -> list[str]:
    """The lines for progress at some seconds."""
    lines: list[str] = []
    clock = Clock()
    progress = LineProgress(lines.append, clock)
    for seconds, part, done, total in events:
        clock.now = 1000 + seconds
        progress(part, done, total, figures or {})
    return lines


def test_a_part_has_a_line_at_its_start_and_its_end_and_every_thirty_seconds() -> None:
    lines = told(*((float(step), "sft", step, 100) for step in range(1, 101)))
    assert lines == ["sft 1/100", "sft 31/100  69s left", "sft 61/100  39s left", "sft 91/100  9s left", "sft 100/100"]


def test_each_part_has_lines_of_its_own() -> None:
    lines = told((0, "replies", 64, 128), (1, "sft", 1, 300), (2, "replies", 128, 128), (3, "sft", 2, 300))
    assert lines == ["replies 64/128", "sft 1/300", "replies 128/128"]


def test_figures_are_shown() -> None:
    figures = {"imitate": 1.25, "steps/s": 0.4}
    assert told((0, "sft", 1, 3000), figures=figures) == ["sft 1/3,000  imitate 1.250  steps/s 0.400"]


@pytest.mark.parametrize(
    ("seconds", "left"), [(50, "50s"), (99, "99s"), (120, "2m"), (5000, "83m"), (7260, "2h01m"), (36000, "10h00m")]
)
def test_the_time_left_is_said_as_people_say_it(seconds: float, left: str) -> None:
    assert told((0, "sft", 0, 2), (seconds, "sft", 1, 2))[-1] == f"sft 1/2  {left} left"


def test_a_resumed_part_reckons_with_what_it_did_itself() -> None:
    assert told((0, "sft", 90, 110), (40, "sft", 100, 110))[-1] == "sft 100/110  40s left"


def test_a_part_that_starts_once_more_is_reckoned_anew() -> None:
    lines = told(
        (0, "replies", 64, 128), (100, "replies", 128, 128), (200, "replies", 64, 192), (240, "replies", 128, 192)
    )
    assert lines[-2:] == ["replies 64/192", "replies 128/192  40s left"]


def test_where_no_terminal_is_the_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as progress:
        progress("prompts", 1, 2, {})
        progress("prompts", 2, 2, {})
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "prompts 1/2\nprompts 2/2\n")
