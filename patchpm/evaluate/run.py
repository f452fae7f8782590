"""From a prefix to claims: every figure on rows that the prefix was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from patchpm.data.suite import HeldOut, Suite
from patchpm.evaluate.bench import Bench, shortened
from patchpm.evaluate.claims import PartValues, claims_of
from patchpm.evaluate.metrics import metrics_of
from patchpm.evaluate.results import Change, Exchange
from patchpm.patch.manifest import Claim

_WRITTEN = {"replies": "refused", "samples": "worst"}
"""Probes that leave texts, and the column that says what each counts for."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured."""

    claims: tuple[Claim, ...]
    """For each metric first the one on all parts together, then those of the parts."""
    changes: tuple[Change, ...]
    """One for each claim."""
    exchanges: tuple[Exchange, ...]
    """The texts behind the figures."""
    values: tuple[PartValues, ...]
    """The figures of every item."""


def evaluate(bench: Bench, prefix: Tensor | None, suites: Sequence[Suite], *, limit: int | None = None) -> Evaluation:
    """Measure a prefix.

    Args:
        bench: The base.
        prefix: `(tokens, hidden_size)` float32, or None for the base alone.
        suites: What to measure on.
        limit: Most rows a part, for a quick look: such figures are no claims.

    Raises:
        UsageError: `unknown-measure`, `invalid-suite`.
        CannotError: What loading the judge raises.
    """
    parts = [part for suite in suites for part in shortened(suite, limit).parts]
    needed = [list(dict.fromkeys(metric.probe for metric in metrics_of(part.measure))) for part in parts]
    values: list[PartValues] = []
    exchanges: list[Exchange] = []
    for part, probes in zip(parts, needed, strict=True):
        before = {probe: bench.without(part, probe) for probe in probes}
        after = {probe: bench.patched(part, probe, prefix) for probe in probes}
        values.append(PartValues(part.name, part.measure, before, after))
        exchanges += _exchanges(part, values[-1])
    claims, changes = claims_of(values, bench.judge)
    return Evaluation(claims, changes, tuple(exchanges), tuple(values))


def _exchanges(part: HeldOut, values: PartValues) -> list[Exchange]:
    """Every prompt with what was written to it."""
    found = []
    for probe, column in _WRITTEN.items():
        if probe in values.before:
            metric = metrics_of(part.measure)[0].name
            before, after = values.before[probe], values.after[probe]
            scores = zip(before.columns[column], after.columns[column], strict=True)
            texts = zip(before.texts, after.texts, strict=True)
            found += [
                Exchange(part.name, metric, record.prompt, *pair, *score)
                for record, pair, score in zip(part.records, texts, scores, strict=True)
            ]
    return found
