"""From projects and `tenants.toml` on disk to the roster of a gateway, verified as `patchpm run` verifies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpm.cli.locked_set import LockedSet, locked_set
from patchpm.errors import CannotError, UsageError
from patchpm.gateway.injection import EmbedsInjection, Injection
from patchpm.gateway.prompt_count import PromptCounter
from patchpm.gateway.roster import EVERYBODY, Roster, Tenant
from patchpm.gateway.tenants import load_tenants
from patchpm.model.loaded import PatchSet
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import ANCHORS
from patchpm.project.lock_toml import FILE as LOCK_FILE
from patchpm.project.project_file import FILE as PROJECT_FILE

if TYPE_CHECKING:
    from patchpm.model.causal_lm import Tokenizer

_SYSTEM_START = ANCHORS[0]
Inject = Callable[[PatchSet, PromptCounter], Injection]


@dataclass(frozen=True, slots=True)
class Loading:
    """How a roster is read, and from which files."""

    load: Callable[[], Roster]
    """Reads and verifies everything. Raises what `locked_set` raises, and as `read_tenants`."""
    watched: Callable[[], Sequence[str]]
    """The files that it depends on."""


def of_project(folder: Path, base: str | None, inject: Inject = EmbedsInjection.of) -> Loading:
    """One project for everybody.

    Args:
        folder: Of the project.
        base: Which of its bases.
        inject: What is done with requests; `FixedInjection.of` for an engine that has the set built in.
    """
    sets = _Sets(inject)

    def load() -> Roster:
        found = locked_set(folder, base)
        return Roster(_weights(found), Tenant(EVERYBODY, sets.injection(found, found.patches)), {})

    return Loading(load, lambda: _files(folder))


def of_tenants(path: Path) -> Loading:
    """The tenants of a file."""
    sets = _Sets(EmbedsInjection.of)

    def load() -> Roster:
        entries = load_tenants(path)
        locked = {
            (entry.project, entry.base): locked_set(entry.project, entry.base) for entry in entries if entry.project
        }
        if not locked:
            raise UsageError(
                "no-base", "no tenant has a project", why="the base that the engines serve is known from a project"
            )
        first = next(iter(locked.values()))
        for found in locked.values():
            if _weights(found) != _weights(first):
                raise UsageError(
                    "several-bases",
                    "the tenants' projects are for different base models",
                    why=f"{first.label} is {_weights(first)}, and {found.label} is {_weights(found)}",
                    next="run one gateway for each base",
                )
        none = PatchSet(_SYSTEM_START, ())
        keys: dict[str, Tenant] = {}
        for entry in entries:
            patches = none if entry.project is None else locked[entry.project, entry.base].patches
            tenant = Tenant(entry.name, sets.injection(first, patches))
            keys |= {key.hex: tenant for key in entry.keys}
        return Roster(_weights(first), None, keys)

    def watched() -> Sequence[str]:
        folders = {entry.project for entry in load_tenants(path) if entry.project}
        return [str(path), *(file for folder in sorted(folders) for file in _files(folder))]

    return Loading(load, watched)


class _Sets:
    """Injections by the digest of their set: tenants with the same patches share one, and reloads keep them."""

    def __init__(self, inject: Inject) -> None:
        self._inject = inject
        self._counters: dict[Path, PromptCounter] = {}
        self._known: dict[tuple[Path, Digest], Injection] = {}

    def injection(self, locked: LockedSet, patches: PatchSet) -> Injection:
        if patches.anchor != _SYSTEM_START:
            raise CannotError(
                "anchor-not-served",
                f"a patch set at {patches.anchor} cannot be served",
                why="a gateway puts patches into conversations, and this anchor is outside of them",
                next="apply it in Python with patchpm.apply",
            )
        source = locked.base.source
        if source not in self._counters:
            self._counters[source] = PromptCounter(_tokenizer(source))
        key = (source, patches.digest)
        if key not in self._known:
            self._known[key] = self._inject(patches, self._counters[source])
        return self._known[key]


def _tokenizer(source: Path) -> Tokenizer:
    from transformers import AutoTokenizer

    made: Any = AutoTokenizer.from_pretrained(source)
    found: Tokenizer = made
    return found


def _weights(found: LockedSet) -> str:
    return str(found.base.fingerprint.tensors)


def _files(folder: Path) -> list[str]:
    return [str(folder / LOCK_FILE), str(folder / PROJECT_FILE)]
