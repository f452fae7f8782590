"""How much of each patch's effect is left beside others, for whole families of patches side by side.

    python benchmarks/composition.py --base MODEL plain=toxicity:T.safetensors,harmfulness:H.safetensors robust=...

A family is a name and its prefixes, one a domain. Given several times under one name, for several training seeds, its
figures are means over them, with the least and the most. Every subset is measured in every order, on the headline
metric of each domain and on over-refusal; with `--one-order`, in the order in which its prefixes are given. It is a
quick look: at most `--limit` rows a part, and bfloat16 where that is faster.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from patchpm.data.suite import Suite, load_suite
from patchpm.evaluate.bench import Bench
from patchpm.evaluate.composition import NamedPrefix, Order, compose
from patchpm.evaluate.metrics import GUARDED, JUDGE
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.evaluate.results import Cell, Composition, composition_to_json
from patchpm.settings import Folders
from patchpm.train.base_model import AUTO
from patchpm.train.matrix import read_matrix

Figures = dict[tuple[Order, str, str], list[Cell]]
"""The cells of all seeds, by order, metric, and the patch whose effect it is."""


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+", metavar="NAME=DOMAIN:PREFIX,...")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--one-order", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON file for all figures")
    options = parser.parse_args()
    given = [read_family(text) for text in options.families]
    domains = dict.fromkeys(domain for _, prefixes in given for domain in prefixes)
    suites = [load_suite(name, Folders.of_user().cache) for name in (*domains, "general")]
    found: dict[str, list[Composition]] = defaultdict(list)
    with Progress(transient=True) as bars:
        bar = bars.add_task("")
        bench = Bench.open(
            options.base,
            separator="",
            judge=JUDGE,
            progress=lambda part, done, whole: bars.update(bar, description=part, completed=done, total=whole),
            precision=AUTO,
        )
        for name, prefixes in given:
            found[name].append(measure(bench, prefixes, suites, options.limit, one_order=options.one_order))
            write(options.out, found)
    console = Console()
    for name, several in found.items():
        console.print(table(name, several))


def read_family(text: str) -> tuple[str, dict[str, Path]]:
    """Name, and prefixes by domain."""
    name, _, rest = text.partition("=")
    pairs = (part.partition(":") for part in rest.split(","))
    return name, {domain: Path(path) for domain, _, path in pairs}


def measure(
    bench: Bench, prefixes: dict[str, Path], suites: list[Suite], limit: int, *, one_order: bool
) -> Composition:
    """One family of one seed."""
    patches = [
        NamedPrefix(domain, domain, read_matrix(path, bench.model.hidden_size)) for domain, path in prefixes.items()
    ]
    names = tuple(prefixes)
    orders = [subset for size in range(2, len(names) + 1) for subset in combinations(names, size)]
    return compose(bench, patches, suites, orders=orders if one_order else None, limit=limit)


def write(out: Path | None, found: dict[str, list[Composition]]) -> None:
    """Keep what there is so far: a family takes minutes."""
    if out is not None:
        kept = {name: [composition_to_json(each) for each in several] for name, several in found.items()}
        out.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


def table(name: str, several: list[Composition]) -> Table:
    """What people read."""
    cells: Figures = defaultdict(list)
    for composition in several:
        for cell in composition.cells:
            cells[cell.order, cell.metric, cell.patch].append(cell)
    made = Table(title=f"{name}, {len(several)} seeds" if len(several) > 1 else name)
    for heading in ("patches in order", "metric", "figure", "effect kept"):
        made.add_column(heading)
    for (order, metric, patch), found in cells.items():
        if patch or metric == GUARDED or not order:
            kept = [cell.kept for cell in found if cell.kept is not None]
            left = f"{spread(kept, '{:.0%}'.format)} of {patch}" if kept and len(order) > 1 else ""
            figure = spread([cell.value for cell in found], quantity_of(metric).show)
            made.add_row(", ".join(order) or "none", metric, figure, left)
    return made


def spread(figures: list[float], show: Callable[[float], str]) -> str:
    """The mean, and the least and the most of several."""
    mean = show(sum(figures) / len(figures))
    return mean if len(figures) == 1 else f"{mean} ({show(min(figures))} to {show(max(figures))})"


if __name__ == "__main__":
    main()
