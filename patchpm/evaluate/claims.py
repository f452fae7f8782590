"""From the readings of every part to claims, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchpm.evaluate.interval import Estimate, Resampling, wilson
from patchpm.evaluate.metrics import EVENTS, JUDGE, PERPLEXITY, POOLED, Metric, judged_suite, metrics_of
from patchpm.evaluate.probes.reading import Readings
from patchpm.evaluate.results import Change, Exchange, exchange_to_json
from patchpm.patch.manifest import Claim
from patchpm.patch.manifest_json import claim_to_json

_PLACES = 4


@dataclass(frozen=True, slots=True)
class PartValues:
    """What was read off one part of a suite, item by item, by the name of the probe."""

    name: str
    measure: str
    before: dict[str, Readings]
    """Without the patch."""
    after: dict[str, Readings]
    """With it; the same items in the same order."""


def claims_of(parts: Sequence[PartValues], judge: str = JUDGE) -> tuple[tuple[Claim, ...], tuple[Change, ...]]:
    """A claim and a change for each metric: on all parts of its measure together, and on each part.

    Args:
        parts: In any order.
        judge: The scorer that judged; another one than the usual is named in what it judged.
    """
    claims: list[Claim] = []
    changes: list[Change] = []
    for measure in dict.fromkeys(part.measure for part in parts):
        mine = [part for part in parts if part.measure == measure]
        sets = [(POOLED[measure], mine)] if measure in POOLED else []
        sets += [(part.name, [part]) for part in mine]
        draws: dict[int, Resampling] = {}
        for metric in metrics_of(measure):
            for suite, chosen in sets:
                before = columns_of(metric, [part.before[metric.probe] for part in chosen])
                after = columns_of(metric, [part.after[metric.probe] for part in chosen])
                if len(after) == 0:
                    continue
                if len(after) not in draws:
                    draws[len(after)] = Resampling(len(after))
                resampling = draws[len(after)]
                label = judged_suite(suite, judge) if metric.judged else suite
                claims.append(_claim(metric, label, before, after, resampling))
                changes.append(_change(metric, label, before, after, resampling))
    return tuple(claims), tuple(changes)


def columns_of(metric: Metric, readings: Sequence[Readings]) -> NDArray[Any]:
    """A metric's columns, `(items, columns)`, of several parts one after the other."""
    return np.concatenate([np.array([one.columns[name] for name in metric.columns]).T for one in readings])


def estimate(metric: Metric, columns: NDArray[Any], resampling: Resampling) -> Estimate:
    """The figure with its interval: Wilson's for what happens or does not, else the bootstrap's."""
    if metric.columns[0] in EVENTS:
        low, high = wilson(int(columns.sum()), len(columns))
        return Estimate(float(columns.mean()), low, high)
    return resampling.estimate(columns, metric.figure)


def claims_file(claims: Sequence[Claim]) -> bytes:
    """The bytes of `claims.json`."""
    return (json.dumps([claim_to_json(claim) for claim in claims], indent=2) + "\n").encode()


def replies_file(exchanges: Sequence[Exchange]) -> bytes:
    """The bytes of a file with every prompt and both replies, a JSON object a line, for a person to read."""
    return b"".join((json.dumps(exchange_to_json(one), ensure_ascii=False) + "\n").encode() for one in exchanges)


def _claim(metric: Metric, suite: str, before: NDArray[Any], after: NDArray[Any], resampling: Resampling) -> Claim:
    found = estimate(metric, after, resampling)
    n = int(after[:, 1].sum()) if metric.measure == PERPLEXITY else len(after)
    figures = (float(metric.figure(before.mean(0))), found.value, found.low, found.high)
    return Claim(metric.name, suite, n, *(round(value, _PLACES) for value in figures))


def _change(metric: Metric, suite: str, before: NDArray[Any], after: NDArray[Any], resampling: Resampling) -> Change:
    found = resampling.difference(before, after, metric.figure)
    return Change(metric.name, suite, *(round(value, _PLACES) for value in (found.value, found.low, found.high)))
