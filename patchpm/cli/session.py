"""What most commands need: project, lock, policy, store and registries, each loaded when first used."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from patchpm.cli.bases import measure
from patchpm.cli.output import note, warn
from patchpm.errors import CannotError, IntegrityError, PatchpmError, UsageError
from patchpm.patch.fingerprint import Assurance
from patchpm.patch.name import PatchName
from patchpm.patch.requirement import Requirement
from patchpm.patch.version import Version
from patchpm.project.files import load_lock, lock_text
from patchpm.project.installing import Installer
from patchpm.project.lock import Lock
from patchpm.project.lock_conflict import has_conflict, preferences
from patchpm.project.policy_file import load_policy
from patchpm.project.project_file import ProjectFile, load_project_file
from patchpm.registry.index import ReleaseEntry
from patchpm.resolve.problem import Target
from patchpm.settings import OFFLINE, Folders, is_set
from patchpm.store.store import Store
from patchpm.trust.policy import Policy
from patchpm.trust.release import VerifiedRelease, verify_release

if TYPE_CHECKING:
    from patchpm.registry.catalogue import Catalogue


class Session:
    """One run of one command in one project folder.

    Args:
        folder: The project's folder; commands that need no project do not touch it.
        offline: Ask no registry over the network.
    """

    def __init__(self, folder: Path, *, offline: bool = False) -> None:
        self.folder = folder
        self.offline = offline or is_set(OFFLINE)
        self.now = datetime.now(UTC)
        self.folders = Folders.of_user()

    @cached_property
    def policy(self) -> Policy:
        """The policy that holds here."""
        return load_policy(self.folders, self.folder)

    @cached_property
    def store(self) -> Store:
        """The user's store."""
        return Store(self.folders.store)

    @cached_property
    def installer(self) -> Installer:
        """Verifies, stores and loads what a lock names."""
        return Installer(self.store, self.policy, self.now)

    @cached_property
    def project(self) -> ProjectFile:
        """The project file as it is on disk."""
        return load_project_file(self.folder)[1]

    @cached_property
    def lock(self) -> Lock:
        """The lock as it is on disk."""
        return load_lock(self.folder)

    @cached_property
    def catalogue(self) -> Catalogue:
        """All registries of the policy, verified and as new as they can be had."""
        from patchpm.registry import builtin
        from patchpm.registry.catalogue import Catalogue
        from patchpm.trust.tuf_floor import Versions

        try:
            seen = self.previous()[0]
        except PatchpmError:
            seen = None  # a lock that cannot be read sets no floor; the command that needs it says so itself
        floor = {
            item.alias: Versions(item.root, item.timestamp, item.snapshot, item.targets)
            for item in (() if seen is None else seen.registries)
            # The built-in registry is made anew with each package, and its version numbers start again.
            if item.alias != builtin.ALIAS
        }
        return Catalogue(self.policy, self.folders.registries, self.now, offline=self.offline, seen=floor)

    def previous(self, *, anew: bool = False) -> tuple[Lock | None, dict[PatchName, Version]]:
        """The lock before this run, if it can be read, and the versions it would like to keep.

        A lock in conflict still says what it pinned; that steers the resolution and is not trusted.

        Args:
            anew: Treat a damaged lock so too, instead of refusing it: for `patchpm lock`, which makes it anew.
        """
        text = lock_text(self.folder)
        if text is None:
            return None, {}
        if has_conflict(text):
            note("patchpm.lock holds a merge conflict: both sides' versions are preferred, and it is written anew")
            return None, preferences(text)
        try:
            lock = self.lock
        except IntegrityError as error:
            if not anew:
                raise
            warn(f"{error.what}: the versions that it names are preferred, and it is written anew")
            return None, preferences(text)
        return lock, lock.versions()

    def targets(self, project: ProjectFile, previous: Lock | None) -> list[Target]:
        """Measure the bases of a project, or take the lock's word for one that is not on this machine.

        Raises:
            CannotError: `model-not-found` and others of `patchpm.model.fingerprint`.
            UsageError: `no-base`.
        """
        if not project.bases:
            raise UsageError(
                "no-base", "the project names no base model", next='add one to patchpm.toml: [bases] name = "PATH"'
            )
        known = {} if previous is None else {base.label: base.fingerprint for base in previous.bases}
        targets = []
        for label, location in project.bases.items():
            try:
                measured = measure(location, self.folder, rehash=self.policy.base_assurance is Assurance.VERIFIED)
            except CannotError as error:
                absent = error.code in ("model-not-found", "not-in-hub-cache")
                if not absent or label not in known or self.policy.base_assurance > Assurance.DECLARED:
                    raise
                warn(f"base {label} is not on this machine; its fingerprint is the one the lock declares")
                targets.append(Target(label, known[label]))
            else:
                targets.append(Target(label, measured.fingerprint))
        return targets

    def full_name(self, wanted: Requirement) -> PatchName:
        """The patch that a requirement means: a bare name must be that of one patch only.

        Raises:
            CannotError: `unknown-patch`.
            UsageError: `ambiguous-name`, listing the candidates.
        """
        if wanted.vendor is not None:
            return PatchName(wanted.vendor, wanted.name)
        names = self.catalogue.names()
        same = [name for name in names if name.name == wanted.name]
        # What the policy denies can never be meant; alone it is kept, so that the denial is what the user reads.
        found = [name for name in same if self.policy.denial(name) is None] or same
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(str(name) for name in found)
            raise UsageError(
                "ambiguous-name", f"{wanted.name} is the name of several patches", why=listed, next="say which vendor's"
            )
        import difflib

        near = difflib.get_close_matches(wanted.name, [name.name for name in names], n=1)
        close = [str(name) for name in names if name.name in near]
        raise CannotError(
            "unknown-patch",
            f"no registry of your policy has a patch called {wanted.name}",
            next=f"did you mean {' or '.join(close)}?" if close else "`patchpm search` lists what there is",
        )

    def verified_entry(self, entry: ReleaseEntry) -> VerifiedRelease:
        """Fetch and verify a release that a registry lists, without installing it."""
        from patchpm.registry.fetching import fetch_release

        keys = self.policy.vendor_keys(entry.name.vendor, self.catalogue.vendor_keys(entry.name.vendor))
        files = self.store.get(entry.manifest, entry.prefix, entry.attestations)
        return verify_release(
            files or fetch_release(self.policy, entry, offline=self.offline),
            keys=keys.keys,
            threshold=keys.threshold,
            policy=self.policy,
            now=self.now,
            expected=entry,
            published=datetime.fromisoformat(entry.published),
        ).require()
