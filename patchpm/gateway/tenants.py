"""`tenants.toml`: who may ask a gateway, and with which project's patches. Read strictly; holds no key in the clear."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from patchpm.errors import CannotError, UsageError
from patchpm.patch import strict_toml
from patchpm.patch.digest import Digest
from patchpm.patch.record import Record
from patchpm.project.project_file import LABEL_PATTERN

FILE: Final = "tenants.toml"
_CODE: Final = "malformed-tenants"
_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """One tenant, as the file has it."""

    name: str
    keys: tuple[Digest, ...]
    """SHA-256 of each API key."""
    project: Path | None
    """Folder of its `patchpm.lock`; None where `patches = false` says that it gets none."""
    base: str | None
    """Label of the base in that project; None where the project has one only."""


def read_tenants(text: str, *, folder: Path) -> tuple[TenantEntry, ...]:
    """Read the text of a `tenants.toml`.

    Args:
        text: TOML.
        folder: What paths in it are relative to.

    Raises:
        UsageError: `malformed-tenants` with the place and the reason.
    """
    value = strict_toml.loads(text, source=FILE, code=_CODE, error=UsageError)
    record = Record(value, FILE, code=_CODE, error=UsageError)
    found = tuple(_entry(item, folder) for item in record.records("tenant", max_items=_MAX))
    record.done()
    if not found:
        raise record.refuse("has no tenant", "tenant")
    owners: dict[Digest, str] = {}
    names: set[str] = set()
    for entry in found:
        if entry.name in names:
            raise record.refuse(f"names {entry.name} twice", "tenant")
        names.add(entry.name)
        for key in entry.keys:
            if key in owners:
                raise record.refuse(f"gives {entry.name} a key of {owners[key]}", "tenant")
            owners[key] = entry.name
    return found


def load_tenants(path: Path) -> tuple[TenantEntry, ...]:
    """Read a file of tenants.

    Raises:
        UsageError: `malformed-tenants`.
        CannotError: `unreadable-file`.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotError("unreadable-file", f"{FILE} cannot be read", why=f"{path}: {error}") from None
    return read_tenants(text, folder=path.parent)


def _entry(record: Record, folder: Path) -> TenantEntry:
    name = record.text("name", pattern=LABEL_PATTERN)
    keys = tuple(
        Record({"key": key}, f"{record.place}: keys", code=_CODE, error=UsageError).digest("key")
        for key in record.texts("keys")
    )
    if not keys:
        raise record.refuse("is empty: nobody could be this tenant", "keys")
    patched = record.flag("patches") if record.has("patches") else True
    project = record.text("project") if record.has("project") else None
    base = record.text("base", pattern=LABEL_PATTERN) if record.has("base") else None
    record.done()
    if patched and project is None:
        raise record.refuse("is missing; a tenant without patches says `patches = false`", "project")
    if not patched and project is not None:
        raise record.refuse("is given, though `patches = false` leaves it unused", "project")
    return TenantEntry(name, keys, None if project is None else folder / Path(project), base)
