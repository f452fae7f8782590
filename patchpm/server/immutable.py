"""What the database itself refuses, whoever asks it: a tag of a release moves never, nor does what it names.

Tags are releases if they begin with `v` and a digit. Commits are only ever added, and go with their repository, which
cannot go while it holds a release.
"""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import DDL, Table, event

_RELEASE: Final = re.compile("v[0-9]", re.ASCII)
_SQLITE: Final = "{row}kind = 'tag' AND {row}name GLOB 'v[0-9]*'"
_POSTGRESQL: Final = "{row}kind = 'tag' AND {row}name ~ '^v[0-9]'"
_HELD: Final = (
    "EXISTS (SELECT 1 FROM lines JOIN refs ON refs.repo = lines.repo WHERE lines.id = OLD.{line} AND {release})"
)


def is_release(tag: str) -> bool:
    """Whether a tag names a release."""
    return _RELEASE.match(tag) is not None


def protect(refs: Table, lines: Table, commits: Table, entries: Table) -> None:
    """Add the triggers to the tables, for when they are made. `refs` must be made last."""
    refuse = "SELECT RAISE(ABORT, 'releases are immutable');"
    old = _SQLITE.format(row="OLD.")
    _sqlite(refs, f"refs_moved BEFORE UPDATE ON refs WHEN {old} BEGIN {refuse} END")
    _sqlite(refs, f"refs_dropped BEFORE DELETE ON refs WHEN {old} BEGIN {refuse} END")
    # INSERT OR REPLACE drops a row without the trigger above.
    there = "EXISTS (SELECT 1 FROM refs WHERE repo = NEW.repo AND kind = NEW.kind AND name = NEW.name)"
    new = _SQLITE.format(row="NEW.")
    _sqlite(refs, f"refs_replaced BEFORE INSERT ON refs WHEN {new} AND {there} BEGIN {refuse} END")
    raised = "RAISE EXCEPTION 'releases are immutable' USING ERRCODE = 'integrity_constraint_violation';"
    _postgresql(
        refs,
        f"CREATE OR REPLACE FUNCTION releases_stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {raised} END $$;"
        "CREATE TRIGGER refs_stay BEFORE UPDATE OR DELETE ON refs FOR EACH ROW "
        f"WHEN ({_POSTGRESQL.format(row='OLD.')}) EXECUTE FUNCTION releases_stay();"
        "CREATE TRIGGER refs_stay_whole BEFORE TRUNCATE ON refs EXECUTE FUNCTION releases_stay()",
    )
    for table, line in ((lines, "id"), (commits, "line"), (entries, "line")):
        name = table.name
        held = _HELD.format(line=line, release=_SQLITE.format(row="refs."))
        _sqlite(refs, f"{name}_changed BEFORE UPDATE ON {name} BEGIN {refuse} END")
        _sqlite(refs, f"{name}_dropped BEFORE DELETE ON {name} WHEN {held} BEGIN {refuse} END")
        held = _HELD.format(line=line, release=_POSTGRESQL.format(row="refs."))
        _postgresql(
            refs,
            f"CREATE OR REPLACE FUNCTION {name}_stay() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF {held} THEN {raised} END IF; RETURN OLD; END $$;"
            f"CREATE TRIGGER {name}_stay BEFORE DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_stay();"
            f"CREATE TRIGGER {name}_unchanged BEFORE UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION releases_stay();"
            f"CREATE TRIGGER {name}_stay_whole BEFORE TRUNCATE ON {name} EXECUTE FUNCTION releases_stay()",
        )


def _sqlite(table: Table, trigger: str) -> None:
    _after(table, "sqlite", f"CREATE TRIGGER {trigger}")


def _postgresql(table: Table, text: str) -> None:
    _after(table, "postgresql", text)


def _after(table: Table, dialect: str, text: str) -> None:
    statement = DDL(text.replace("%", "%%"))  # type: ignore[no-untyped-call]
    event.listen(table, "after_create", statement.execute_if(dialect=dialect))
