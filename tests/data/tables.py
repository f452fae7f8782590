"""Sources and suites of a few rows, on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from patchpm.data.source import Source, SourceRows, read_source, source_rows
from patchpm.data.table import Table


def source(**keys: Any) -> Source:
    """A source with the keys of its table; `rows.txt` where they say nothing else."""
    table = Table({"name": "rows", "licence": "MIT", "file": "rows.txt", **keys}, "source[0].")
    made = read_source(table)
    table.close()
    return made


def rows_of(folder: Path, data: str | bytes, *, seed: int = 0, shuffle: bool = True, **keys: Any) -> SourceRows:
    """The rows of a file with this content."""
    made = source(**keys)
    if not made.wheel:
        (folder / made.file).write_bytes(data if isinstance(data, bytes) else data.encode())
    return source_rows(made, folder, folder / "cache", seed=seed, shuffle=shuffle)


def prompts_of(folder: Path, data: str | bytes, **keys: Any) -> list[str]:
    """What the rows ask, in the order of the file."""
    return [record.prompt for record in rows_of(folder, data, shuffle=False, **keys).records]


def write_suite(folder: Path, name: str, *sources: str, schema: int = 1) -> Path:
    """A suite file; each source is the text of its table."""
    path = folder / f"{name}.toml"
    tables = "".join(f"\n[[source]]\n{text}" for text in sources)
    path.write_text(f"schema = {schema}\nseed = 3\n{tables}")
    return path


def suite_source(name: str, rows: int, *, measure: str = "refusal", file: str = "", more: str = "") -> str:
    """The table of one source of a suite."""
    keys = f'name = "{name}"\nmeasure = "{measure}"\nlicence = "MIT"\nfile = "{file or name + ".txt"}"\nrows = {rows}\n'
    return keys + more
