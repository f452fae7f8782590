"""From projects and `tenants.toml` on disk to the roster of a gateway, verified as `patchpm run` verifies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchpm.cli.locked_set import LockedSet, locked_set
from patchpm.cli.output import warn
from patchpm.errors import CannotError, PatchpmError, UsageError
from patchpm.export.gguf_tokenizer import tokenizer_of
from patchpm.gateway.injection import EmbedsInjection, Injection
from patchpm.gateway.prompt_count import PromptCounter
from patchpm.gateway.roster import EVERYBODY, Roster, Tenant
from patchpm.gateway.tenants import load_tenants
from patchpm.guard.reference import Reference
from patchpm.guard.reference_json import FILE as PROBES_FILE
from patchpm.guard.reference_json import load_references
from patchpm.model.loaded import PatchSet
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import ANCHORS
from patchpm.project.lock_toml import FILE as LOCK_FILE
from patchpm.project.project_file import FILE as PROJECT_FILE

_SYSTEM_START = ANCHORS[0]
_BaseKey = tuple[Path, Digest | None, Digest | None]
"""Where a base is, with the digests of its tokenizer and of its template."""
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
        (injection,) = sets.injections([(found, found.patches)])
        return Roster(_weights(found), Tenant(EVERYBODY, injection, _reference(folder, found.patches)), {})

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
        patches = [none if entry.project is None else locked[entry.project, entry.base].patches for entry in entries]
        injections = sets.injections([(first, one) for one in patches])
        keys: dict[str, Tenant] = {}
        for entry, injection in zip(entries, injections, strict=True):
            reference = None if entry.project is None else _reference(entry.project, injection.patches)
            tenant = Tenant(entry.name, injection, reference)
            keys |= {key.hex: tenant for key in entry.keys}
        return Roster(_weights(first), None, keys)

    def watched() -> Sequence[str]:
        try:
            folders = {entry.project for entry in load_tenants(path) if entry.project}
        except PatchpmError:
            folders = set()  # it cannot be read now; once it can, it will have changed
        return [str(path), *(file for folder in sorted(folders) for file in _files(folder))]

    return Loading(load, watched)


class _Sets:
    """Injections by their set and base: tenants with the same patches share one, and reloads keep what stays."""

    def __init__(self, inject: Inject) -> None:
        self._inject = inject
        self._counters: dict[_BaseKey, PromptCounter] = {}
        self._known: dict[tuple[_BaseKey, Digest], Injection] = {}

    def injections(self, wanted: Sequence[tuple[LockedSet, PatchSet]]) -> list[Injection]:
        """The injection of each patch set, on the base of its project. Those of other sets are forgotten."""
        counters: dict[_BaseKey, PromptCounter] = {}
        known: dict[tuple[_BaseKey, Digest], Injection] = {}
        for locked, patches in wanted:
            if patches.anchor != _SYSTEM_START:
                raise CannotError(
                    "anchor-not-served",
                    f"a patch set at {patches.anchor} cannot be served",
                    why="a gateway puts patches into conversations, and this anchor is outside of them",
                    next="apply it in Python with patchpm.apply",
                )
            base = _base_key(locked)
            if base not in counters:
                counters[base] = self._counters.get(base) or PromptCounter(tokenizer_of(locked.base.source))
            key = (base, patches.digest)
            if key not in known:
                known[key] = self._known.get(key) or self._inject(patches, counters[base])
        self._counters, self._known = counters, known
        return [known[_base_key(locked), patches.digest] for locked, patches in wanted]


def _base_key(locked: LockedSet) -> _BaseKey:
    found = locked.base.fingerprint
    return locked.base.source, found.tokenizer, found.template


def _weights(found: LockedSet) -> str:
    return str(found.base.fingerprint.tensors)


def _files(folder: Path) -> list[str]:
    return [str(folder / name) for name in (LOCK_FILE, PROJECT_FILE, PROBES_FILE)]


def _reference(folder: Path, patches: PatchSet) -> Reference | None:
    """What `patchpm probe` wrote down for a set; None where it did not, or did so for another lock.

    Raises:
        IntegrityError: `malformed-probes`, `unknown-format`.
    """
    path = folder / PROBES_FILE
    if not patches.patches or not path.is_file():
        return None
    found = next((one for one in load_references(path) if one.set == patches.digest), None)
    if found is None:
        warn(f"{path} is for another patch set than the lock's, so engines are not probed; run `patchpm probe` again")
    return found
