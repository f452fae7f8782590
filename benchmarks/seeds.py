"""What chance in training decides: figures of several training seeds, as a mean with a 95 % interval over seeds.

    patchpm evaluate seed-1/prefix.safetensors --base MODEL --out seed-1.json    (and so on)
    python benchmarks/seeds.py seed-1.json seed-2.json seed-3.json

The interval is Student's for a mean, from the spread between seeds alone. Each run's own interval, over rows, is what
`patchpm evaluate` reports.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

from patchpm.evaluate.measured import read_run
from patchpm.evaluate.metrics import is_pooled
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.patch.manifest import Claim

STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""The 97.5 % point of Student's t, by the number of values."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="+", type=Path, help="what --out or --results of `patchpm evaluate` wrote")
    parser.add_argument("--parts", action="store_true", help="each part of a suite too")
    options = parser.parse_args()
    runs = [read_run(path.stem, path.read_bytes(), str(path)) for path in options.claims]
    table = Table(title=f"{len(runs)} training seeds")
    for heading in ("metric", "suite", "n", "without", "with, mean", "95 % over seeds", "change", "each seed"):
        table.add_column(heading)
    several: dict[tuple[str, str], list[Claim]] = {}
    for run in runs:
        for claim in run.claims:
            several.setdefault((claim.metric, claim.suite), []).append(claim)
    whole = {metric for metric, suite in several if is_pooled(suite)}
    for (metric, suite), claims in several.items():
        if options.parts or metric not in whole or is_pooled(suite):
            table.add_row(metric, suite, f"{claims[0].n:,}", *row(metric, claims))
    Console(width=180).print(table)


def row(metric: str, claims: list[Claim]) -> list[str]:
    """The figures of one metric."""
    quantity = quantity_of(metric)
    values = [claim.after for claim in claims]
    mean, before = statistics.mean(values), claims[0].before
    shown = [quantity.show(before), quantity.show(mean)]
    if len(values) in STUDENT:
        half = STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
        shown.append(quantity.interval(mean - half, mean + half))
    else:
        shown.append("")
    shown.append(f"{mean / before - 1:+.0%}" if before else "")
    return [*shown, ", ".join(quantity.show(value) for value in values)]


if __name__ == "__main__":
    main()
