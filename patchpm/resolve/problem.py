"""What a resolution starts from."""

from __future__ import annotations

from dataclasses import dataclass

from patchpm.patch.fingerprint import Fingerprint
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range


@dataclass(frozen=True, slots=True)
class RootRequirement:
    """One requirement of the user."""

    name: PatchName
    range: Range
    origin: str
    """Where it is written, for explanations: `patchpm.toml:7`, `the command line`."""

    def __str__(self) -> str:
        return f"{self.name} {self.range}"


@dataclass(frozen=True, slots=True)
class Target:
    """A base model of the project; every patch must have a release for each of them."""

    label: str
    """What the project calls it."""
    fingerprint: Fingerprint
