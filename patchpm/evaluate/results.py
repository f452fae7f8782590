"""What an evaluation found, as values, and the file that keeps it so that a report can be drawn later.

Nothing here needs torch: a report is drawn where no model is.
"""

from __future__ import annotations

from dataclasses import dataclass

from patchpm.patch import strict_json
from patchpm.patch.manifest import Claim
from patchpm.patch.manifest_json import claim_to_json, claims_from
from patchpm.patch.record import Record
from patchpm.patch.strict_json import JsonValue

FORMAT = "patchpm-results-v1"
"""First field of every results file."""
MAX_BYTES = 64 << 20
"""Largest results file that is read."""
_CODE = "malformed-results"
_MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """One held-out prompt with the replies of the base and of the patched model, and what the judge made of them."""

    suite: str
    """Name of the part of a suite that the prompt is from, as claims have it."""
    metric: str
    """What the replies were judged for: `refusal-rate`, `over-refusal-rate`, `average-max-toxicity`."""
    prompt: str
    """The user's turn."""
    before: str
    """The reply without the patch; of several samples the one that scored worst."""
    after: str
    """The same with it."""
    before_score: float
    """What `before` counts for in the metric: 0 or 1 for a rate, a score of 0..1 for toxicity."""
    after_score: float


@dataclass(frozen=True, slots=True)
class Change:
    """How far a patch moved one metric, `after - before`, with the interval of that difference.

    The interval is paired: the same items with and without the patch. So it may exclude 0 where the intervals of
    both figures overlap.
    """

    metric: str
    suite: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Member:
    """A patch of a composition."""

    name: str
    domain: str
    metric: str
    """Its headline metric: what it is for."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one ordered set of patches."""

    order: tuple[str, ...]
    """Names of the patches in the order in which they stand; empty for the base model alone."""
    metric: str
    value: float
    low: float
    """Lower end of the 95 % interval of `value`."""
    high: float
    n: int
    """Items behind the figure."""
    patch: str
    """The patch of the set whose headline metric this is; empty for none."""
    kept: float | None
    """Share of that patch's own effect which is left: (before - set) / (before - alone). None where there is no such
    patch, or where alone it has no effect."""


@dataclass(frozen=True, slots=True)
class Composition:
    """Sets of patches, measured together."""

    patches: tuple[Member, ...]
    metrics: tuple[str, ...]
    """Every metric that cells have, headline metrics first."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a report shows."""

    title: str
    """What was measured, in a few words: `patchpm/toxicity 1.0.0`, or the name of the prefix file."""
    base: str
    """Name of the base model."""
    claims: tuple[Claim, ...] = ()
    """Pooled claims of a metric before those of the parts."""
    changes: tuple[Change, ...] = ()
    """One for each claim, in the same order."""
    exchanges: tuple[Exchange, ...] = ()
    composition: Composition | None = None


def write_results(results: Results) -> bytes:
    """Write a results file; the same value always gives the same bytes."""
    return strict_json.dumps(
        {
            "format": FORMAT,
            "title": results.title,
            "base": results.base,
            "claims": [claim_to_json(claim) for claim in results.claims],
            "changes": [change_to_json(change) for change in results.changes],
            "exchanges": [exchange_to_json(exchange) for exchange in results.exchanges],
            "composition": None if results.composition is None else composition_to_json(results.composition),
        }
    )


def read_results(data: bytes, source: str = "results.json") -> Results:
    """Read the bytes of a results file.

    Args:
        data: Its bytes.
        source: What errors call it.

    Raises:
        IntegrityError: `malformed-json` or `malformed-results`.
    """
    return results_from(strict_json.loads(data, source=source, max_bytes=MAX_BYTES), source)


def results_from(value: JsonValue, source: str) -> Results:
    """Read the value of a results file.

    Raises:
        IntegrityError: `malformed-results`.
    """
    record = Record(value, source, code=_CODE)
    record.choice("format", (FORMAT,))
    results = Results(
        title=record.text("title"),
        base=record.text("base"),
        claims=claims_from(Record({"claims": record.raw("claims")}, source, code=_CODE)),
        changes=tuple(_change_from(item) for item in record.records("changes", max_items=_MANY)),
        exchanges=tuple(_exchange_from(item) for item in record.records("exchanges", max_items=_MANY)),
        composition=composition_from(record.record("composition")) if record.has("composition") else None,
    )
    record.done()
    return results


def exchange_to_json(exchange: Exchange) -> dict[str, JsonValue]:
    """Write one exchange."""
    return {
        "suite": exchange.suite,
        "metric": exchange.metric,
        "prompt": exchange.prompt,
        "before": exchange.before,
        "after": exchange.after,
        "before_score": exchange.before_score,
        "after_score": exchange.after_score,
    }


def composition_to_json(composition: Composition) -> dict[str, JsonValue]:
    """Write a composition."""
    return {
        "patches": [{"name": one.name, "domain": one.domain, "metric": one.metric} for one in composition.patches],
        "metrics": list(composition.metrics),
        "cells": [
            {
                "order": list(cell.order),
                "metric": cell.metric,
                "value": cell.value,
                "low": cell.low,
                "high": cell.high,
                "n": cell.n,
                "patch": cell.patch,
                "kept": cell.kept,
            }
            for cell in composition.cells
        ],
    }


def composition_from(record: Record) -> Composition:
    """Read a composition.

    Raises:
        IntegrityError: As the record says, also for a cell of a patch or metric that is not listed.
    """
    composition = Composition(
        patches=tuple(_member_from(item) for item in record.records("patches", max_items=_MANY)),
        metrics=record.texts("metrics"),
        cells=tuple(_cell_from(item) for item in record.records("cells", max_items=_MANY)),
    )
    names = {one.name for one in composition.patches}
    for cell in composition.cells:
        if not set(cell.order) <= names or cell.metric not in composition.metrics:
            raise record.refuse(f"has a cell of {cell.order} and {cell.metric}, which are not listed", "cells")
    record.done()
    return composition


def change_to_json(change: Change) -> dict[str, JsonValue]:
    """Write one change."""
    return {
        "metric": change.metric,
        "suite": change.suite,
        "value": change.value,
        "low": change.low,
        "high": change.high,
    }


def _change_from(record: Record) -> Change:
    change = Change(
        record.text("metric"),
        record.text("suite"),
        record.number("value"),
        record.number("low"),
        record.number("high"),
    )
    record.done()
    return change


def _exchange_from(record: Record) -> Exchange:
    exchange = Exchange(
        suite=record.text("suite"),
        metric=record.text("metric"),
        prompt=_free_text(record, "prompt"),
        before=_free_text(record, "before"),
        after=_free_text(record, "after"),
        before_score=record.number("before_score"),
        after_score=record.number("after_score"),
    )
    record.done()
    return exchange


def _member_from(record: Record) -> Member:
    member = Member(record.text("name"), record.text("domain"), record.text("metric"))
    record.done()
    return member


def _cell_from(record: Record) -> Cell:
    cell = Cell(
        order=record.texts("order"),
        metric=record.text("metric"),
        value=record.number("value"),
        low=record.number("low"),
        high=record.number("high"),
        n=record.integer("n", low=1, high=10**9),
        patch=record.text("patch", empty=True),
        kept=record.number("kept") if record.has("kept") else None,
    )
    record.done()
    return cell


def _free_text(record: Record, key: str) -> str:
    """What people or models wrote: any characters, so whoever shows it must make it plain."""
    value = record.raw(key)
    if not isinstance(value, str):
        raise record.refuse("is not a string", key)
    return value
