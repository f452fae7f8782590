"""Pictures of what an effect costs, from the claims of releases and of what was measured and not released."""

from __future__ import annotations

from pathlib import Path

from patchpm.evaluate.measured import Run, read_run
from patchpm.evaluate.report.beside import comparable
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.evaluate.report.trade_off import trade_off_file
from patchpm.patch.packing import CLAIMS
from patchpm.patch.version import Version

MEASURED = "measured"
"""Folder of claims that belong to no release; a file's name begins with the domain."""
FRONTS = {
    "toxicity": ("average-max-toxicity", "over-refusal-rate"),
    "bias": ("stereotype-distance", "language-model-score"),
    "harmfulness": ("refusal-rate", "over-refusal-rate"),
}
"""What each patch is for, and what it costs most of."""


def front(recipes: Path, domain: str) -> str:
    """The picture of one domain: the newest release, the earlier ones that were measured on its rows, and others."""
    effect, cost = FRONTS[domain]
    runs = [*_releases(recipes / domain), *_unreleased(recipes / MEASURED, domain)]
    return trade_off_file(comparable(runs, effect, cost), quantity_of(effect), quantity_of(cost))


def _releases(folder: Path) -> list[Run]:
    """All releases, the newest first; of those with the same figures only the newest."""
    paths = sorted(folder.glob(f"*/{CLAIMS}"), key=lambda path: Version.parse(path.parent.name), reverse=True)
    runs = [read_run(path.parent.name, path.read_bytes(), str(path)) for path in paths]
    return [run for number, run in enumerate(runs) if run.claims not in [other.claims for other in runs[:number]]]


def _unreleased(folder: Path, domain: str) -> list[Run]:
    return [
        read_run(path.stem.removeprefix(f"{domain}-").replace("-", " "), path.read_bytes(), str(path))
        for path in sorted(folder.glob(f"{domain}-*.json"))
    ]
