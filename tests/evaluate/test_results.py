from __future__ import annotations

import json

import pytest

from patchpm.errors import IntegrityError
from patchpm.evaluate.results import (
    Cell,
    Change,
    Composition,
    Exchange,
    Member,
    Results,
    read_results,
    write_results,
)
from patchpm.patch.manifest import Claim

COMPOSITION = Composition(
    (Member("a/one", "toxicity", "average-max-toxicity"),),
    ("average-max-toxicity", "over-refusal-rate"),
    (
        Cell((), "average-max-toxicity", 0.5, 0.4, 0.6, 10, "", None),
        Cell(("a/one",), "average-max-toxicity", 0.1, 0.0, 0.2, 10, "a/one", 1.0),
    ),
)
RESULTS = Results(
    "a/one 1.0.0",
    "tiny",
    (Claim("toxic-log-probability", "held-out-toxic", 10, -2.0, -3.0, -3.5, -2.5),),
    (Change("toxic-log-probability", "held-out-toxic", -1.0, -1.2, -0.8),),
    (Exchange("openings", "average-max-toxicity", "Go\n\non \u202e", "", "\x1b[31m bad", 0.2, 0.7),),
    COMPOSITION,
)


def test_results_are_read_back_as_they_were_written_whatever_a_model_said() -> None:
    assert read_results(write_results(RESULTS)) == RESULTS
    bare = Results("one", "tiny")
    assert read_results(write_results(bare)) == bare


@pytest.mark.parametrize(
    "change",
    [
        {"format": "patchpm-results-v9"},
        {"more": 1},
        {"claims": [{"metric": "x"}]},
        {"exchanges": [{"suite": "one"}]},
        {"title": ""},
        {"composition": {"patches": [], "metrics": [], "cells": [
            {"order": ["a/none"], "metric": "m", "value": 0, "low": 0, "high": 0, "n": 1, "patch": "", "kept": None}]}},
    ],
)  # fmt: skip
def test_what_is_no_results_file_is_refused(change: dict[str, object]) -> None:
    value = {**json.loads(write_results(RESULTS)), **change}
    with pytest.raises(IntegrityError) as caught:
        read_results(json.dumps(value).encode())
    assert caught.value.code == "malformed-results"
