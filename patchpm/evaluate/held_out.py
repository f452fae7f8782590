"""What makes a claim worthless: rows that were trained on, and a judge that chose the training texts."""

from __future__ import annotations

from collections.abc import Sequence

from patchpm.data.suite import Suite
from patchpm.errors import CannotError
from patchpm.evaluate.metrics import metrics_of
from patchpm.train.used import Used, row_digest


def check_held_out(suites: Sequence[Suite], used: Used, judge: str) -> None:
    """Make sure that what is measured on was not trained on.

    Raises:
        CannotError: `trained-on`, `judge-is-filter`.
    """
    seen = [
        (part.name, record.prompt)
        for suite in suites
        for part in suite.parts
        for record in part.records
        if row_digest(record.key) in used.rows
    ]
    if seen:
        name, prompt = seen[0]
        raise CannotError(
            "trained-on",
            f"{len(seen)} held-out rows were used in training this prefix",
            why=f"among them, of {name}: {prompt[:200]}",
            next="name this suite in `suites` of the recipe and train again, or leave the suite out",
        )
    judged = any(metric.judged for suite in suites for part in suite.parts for metric in metrics_of(part.measure))
    if judged and used.filter == judge:
        raise CannotError(
            "judge-is-filter",
            f"{judge} chose the texts that this prefix was trained on, so it cannot judge them",
            next="judge with another scorer: --judge NAME",
        )
