"""What differs between two locks, for telling people."""

from __future__ import annotations

from dataclasses import dataclass

from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.project.lock import Lock


@dataclass(frozen=True, slots=True)
class Change:
    """One patch that came, went or moved."""

    name: PatchName
    before: Version | None
    after: Version | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.name} {self.after}"
        if self.after is None:
            return f"- {self.name} {self.before}"
        return f"~ {self.name} {self.before} -> {self.after}"


def changes(before: Lock | None, after: Lock) -> tuple[Change, ...]:
    """The patches whose version differs, sorted by name."""
    old = {} if before is None else before.versions()
    new = after.versions()
    return tuple(
        Change(name, old.get(name), new.get(name)) for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    )
