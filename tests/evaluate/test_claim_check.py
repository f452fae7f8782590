from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from patchpm.data.suite import suite_parts
from patchpm.evaluate.bench import Bench
from patchpm.evaluate.claim_check import (
    Broken,
    CheckedClaim,
    Compatible,
    NotWorse,
    Reproduced,
    Unmeasurable,
    compare,
    contradictions,
    in_common,
)
from patchpm.evaluate.remeasuring import is_named, measure_again
from patchpm.evaluate.run import evaluate
from patchpm.patch.manifest import Claim
from tests.evaluate.tiny_suite import prefix, tiny_bench, tiny_suite, write_suite

REFUSALS = Claim("refusal-rate", "held-out-harmful", 320, 0.0, 0.9375, 0.9054, 0.9592)
PERPLEXITY = Claim("perplexity", "wikitext", 7669, 48.4733, 49.6237, 42.1865, 58.3723)
LENGTH = Claim("reply-length", "held-out-benign", 300, 25.0, 24.0, 23.0, 25.0)
STEREOTYPES = Claim("stereotype-score", "stereoset", 600, 60.0, 52.0, 51.0, 53.0)
TOXICITY = Claim("average-max-toxicity", "held-out-toxic", 350, 0.5, 0.2, 0.18, 0.22)


def at(claim: Claim, after: float, **changes: Any) -> Claim:
    """The same measurement with another figure, and an interval as wide around it."""
    low, high = claim.low - claim.after, claim.high - claim.after
    return replace(claim, after=after, low=after + low, high=after + high, **changes)


@pytest.mark.parametrize("claim", [REFUSALS, PERPLEXITY, LENGTH, STEREOTYPES, TOXICITY])
def test_the_same_figure_on_the_same_rows_holds(claim: Claim) -> None:
    assert compare(claim, claim) == Reproduced(claim)


def test_one_item_that_another_machine_rounds_otherwise_does_not_matter() -> None:
    assert isinstance(compare(REFUSALS, at(REFUSALS, REFUSALS.after - 1 / 320)), Reproduced)
    few = Claim("refusal-rate", "few", 10, 0.0, 0.9, 0.6, 0.98)
    assert isinstance(compare(few, at(few, 0.8)), Reproduced)
    assert isinstance(compare(few, at(few, 0.7)), Broken)


@pytest.mark.parametrize(
    ("claim", "worse", "better"),
    [
        (REFUSALS, 0.92, 0.95),
        (PERPLEXITY, 53.0, 46.0),
        (LENGTH, 22.0, 24.5),
        (STEREOTYPES, 47.0, 51.0),
        (TOXICITY, 0.21, 0.19),
    ],
    ids=["higher is better", "lower is better", "near to the base is better", "near to 50 is better", "judged"],
)
def test_another_figure_on_the_same_rows_breaks_a_claim_only_if_it_is_worse(
    claim: Claim, worse: float, better: float
) -> None:
    assert isinstance(compare(claim, at(claim, worse)), Broken)
    found = compare(claim, at(claim, better))
    assert isinstance(found, NotWorse)
    assert found.holds


def test_a_claim_that_makes_the_base_look_worse_than_it_is_does_not_hold() -> None:
    found = compare(TOXICITY, replace(TOXICITY, before=0.25))
    assert isinstance(found, Broken)
    assert "the base alone has 0.25, and not 0.5" in found.why
    assert isinstance(compare(TOXICITY, replace(TOXICITY, before=0.8)), Reproduced)


def test_an_interval_that_is_too_wide_gives_a_claim_no_more_room() -> None:
    wide = replace(TOXICITY, low=0.0, high=1.0)
    assert isinstance(compare(wide, at(TOXICITY, 0.26)), Broken)


def test_other_rows_are_named_and_compared_by_interval() -> None:
    found = compare(replace(REFUSALS, n=300), at(REFUSALS, 0.92))
    assert isinstance(found, Compatible)
    assert found.why == "measured on other rows: n 300 then, 320 now"
    broken = compare(replace(REFUSALS, n=300), at(REFUSALS, 0.5))
    assert isinstance(broken, Broken)
    assert "wholly on the worse side" in broken.why
    assert "measured on other rows" in broken.why
    assert isinstance(compare(replace(TOXICITY, n=300), at(TOXICITY, 0.05)), NotWorse)


def test_a_quick_look_fails_only_what_is_wholly_worse() -> None:
    few = Claim("refusal-rate", "held-out-harmful", 5, 0.0, 0.8, 0.38, 0.96)
    found = compare(REFUSALS, few, complete=False)
    assert isinstance(found, Compatible)
    assert found.why == "a quick look: n 320 then, 5 now"
    none = Claim("refusal-rate", "held-out-harmful", 5, 0.0, 0.0, 0.0, 0.43)
    assert isinstance(compare(REFUSALS, none, complete=False), Broken)


def test_figures_of_another_judge_are_compared_by_interval() -> None:
    other = replace(TOXICITY, suite="held-out-toxic by detoxify")
    for then, now in ((TOXICITY, other), (other, TOXICITY)):
        found = compare(then, at(now, 0.21))
        assert isinstance(found, Compatible)
        assert "judged by" in found.why
    assert isinstance(compare(other, other), Reproduced)


def test_an_unknown_metric_is_neither_held_nor_broken() -> None:
    found = compare(replace(REFUSALS, metric="kindness"), replace(REFUSALS, metric="kindness"))
    assert isinstance(found, Unmeasurable)
    assert found.holds is None


def test_contradictions_are_those_claims_that_somebodys_figures_break() -> None:
    figures = [at(REFUSALS, 0.5), PERPLEXITY, at(TOXICITY, 0.9, suite="held-out-toxic by detoxify")]
    found = contradictions([REFUSALS, PERPLEXITY, LENGTH, TOXICITY], figures)
    assert [one.claim for one in found] == [REFUSALS, TOXICITY]
    assert in_common([REFUSALS, PERPLEXITY, LENGTH, TOXICITY], figures) == 3


def again(bench: Bench, claims: list[Claim], folder: Path, limit: int | None = None) -> tuple[CheckedClaim, ...]:
    return measure_again(lambda: bench, prefix(), claims, [tiny_suite(folder)], limit=limit)


def test_every_claim_of_an_evaluation_holds_when_it_is_measured_again(tmp_path: Path) -> None:
    claims = evaluate(tiny_bench(tmp_path), prefix(), [tiny_suite(tmp_path)]).claims
    checked = again(tiny_bench(tmp_path), list(claims), tmp_path)
    assert [one.claim for one in checked] == list(claims)
    assert {one.finding for one in checked} == {Reproduced(claim) for claim in claims}


def test_only_what_claims_name_is_measured(tmp_path: Path) -> None:
    bench = tiny_bench(tmp_path)
    read = []
    bench._progress = lambda label, _done, _whole: read.append(label)
    again(bench, [Claim("refusal-rate", "held-out-harmful", 5, 0, 0, 0, 1)], tmp_path)
    assert {label.partition(" w")[0] for label in read} == {"bad: replies", "worse: replies"}


def test_a_claim_on_unknown_rows_is_told_and_needs_no_model(tmp_path: Path) -> None:
    def no_bench() -> Bench:
        raise AssertionError("nothing can be measured")

    claims = [
        Claim("refusal-rate", "elsewhere", 5, 0, 0, 0, 1),
        Claim("refusal-rate", "good", 5, 0, 0, 0, 1),
        Claim("kindness", "good", 5, 0, 0, 0, 1),
    ]
    checked = measure_again(no_bench, prefix(), claims, [tiny_suite(tmp_path)])
    assert [one.finding.word for one in checked] == ["cannot be measured here"] * 3
    assert "rows called elsewhere" in checked[0].finding.why


def test_a_quick_look_is_told_from_a_complete_one(tmp_path: Path) -> None:
    bench = tiny_bench(tmp_path)
    (claim,) = [
        one
        for one in evaluate(bench, prefix(), [tiny_suite(tmp_path)]).claims
        if (one.metric, one.suite) == ("choice-accuracy", "quiz")
    ]
    (short,) = again(bench, [claim], tmp_path, limit=1)
    assert "a quick look: n 2 then, 1 now" in short.finding.why
    (enough,) = again(bench, [claim], tmp_path, limit=2)
    assert enough.finding == Reproduced(claim)


def test_a_metric_of_two_measures_is_measured_on_the_rows_that_are_named(tmp_path: Path) -> None:
    bench = tiny_bench(tmp_path)
    claims = [one for one in evaluate(bench, prefix(), [tiny_suite(tmp_path)]).claims if one.metric == "repetition"]
    assert {one.suite for one in claims} >= {"held-out-benign", "held-out-toxic"}
    assert all(isinstance(one.finding, Reproduced) for one in again(bench, claims, tmp_path))


def test_the_parts_of_a_suite_are_known_without_reading_its_rows(tmp_path: Path) -> None:
    path = write_suite(tmp_path)
    (tmp_path / "harmful.txt").unlink()
    parts = suite_parts(str(path))
    assert parts[0] == ("bad", "refusal")
    assert [part for part in parts if is_named(REFUSALS, *part)] == [("bad", "refusal"), ("worse", "refusal")]
