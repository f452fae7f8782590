"""From a lock to verified releases: the one way by which install, frozen install, verify and load get them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from patchpm.errors import CannotError, IntegrityError, TrustError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import Manifest
from patchpm.patch.patch_set import set_digest
from patchpm.patch.release import ReleaseFiles
from patchpm.project.lock import Composition, Lock, LockedBase, LockedRelease
from patchpm.resolve.order import order_fault
from patchpm.store.store import Store
from patchpm.trust.keys import PublicKey
from patchpm.trust.policy import Policy
from patchpm.trust.release import Verdict, VerifiedRelease, verify_release

_PARALLEL: Final = 16
"""Releases that are fetched at once."""
Fetch = Callable[[LockedRelease], ReleaseFiles]
"""Gets the files of a release from its registry."""


@dataclass(frozen=True, slots=True)
class Installer:
    """Brings what a lock names into the store, and out of it again, verified each time."""

    store: Store
    policy: Policy
    now: datetime
    vocabulary_norm: float | None = None
    """Norm of the longest row of the base's vocabulary, where the base is at hand."""

    def install(self, lock: Lock, fetch: Fetch) -> Iterator[tuple[LockedRelease, bool]]:
        """Make sure that everything the lock names is in the store.

        Args:
            lock: What to install.
            fetch: Called for a release that is not in the store. Of several, each is fetched, verified and stored in a
                thread of its own.

        Yields:
            Each release once it is there, and whether it was fetched.

        Raises:
            IntegrityError: As `verify_release`, and as `check_sets`.
            TrustError: `token-budget` where the policy allows fewer prefix tokens.
            CannotError: Where the store cannot be written.
        """
        for composition in lock.compositions:
            self._check_budget(composition)
        manifests: dict[tuple[str, str], Manifest] = {}
        stored = {release.manifest.digest: self._stored(release) for release in lock.releases}
        missing = {release.manifest.digest: release for release in lock.releases if not stored[release.manifest.digest]}

        def bring(release: LockedRelease) -> VerifiedRelease:
            verified = self._belonging(lock, release, fetch(release))
            self.store.put(verified)
            return verified

        with _coming(missing, bring) as coming:
            for release in lock.releases:
                digest = release.manifest.digest
                files = stored[digest]
                if files is None:
                    verified = coming(digest)
                    if missing[digest] is not release:  # the same release, pinned for another base too
                        verified = self._belonging(lock, release, verified.files)
                else:
                    verified = self._belonging(lock, release, files)
                stored[digest] = verified.files
                manifests[release.base, str(release.name)] = verified.manifest
                yield release, files is None
        check_sets(lock, manifests)

    def _belonging(self, lock: Lock, release: LockedRelease, files: ReleaseFiles) -> VerifiedRelease:
        verified = self._verify(release, files).require()
        check_manifest(release, _base_of(lock, release), verified.manifest)
        return verified

    def verdicts(self, lock: Lock) -> Iterator[tuple[LockedRelease, Verdict]]:
        """Verify what is installed, without stopping at a release that fails.

        Raises:
            CannotError: `not-installed`.
        """
        for release in lock.releases:
            yield release, self._verify(release, self._installed(release))

    def load(self, lock: Lock, label: str) -> tuple[Composition, Sequence[VerifiedRelease]]:
        """The patch set of one base, verified, in the order in which it is applied.

        Raises:
            CannotError: `not-installed`, or `no-such-base`.
            IntegrityError, TrustError: As `install`.
        """
        composition = lock.composition(label)
        if composition is None:
            known = ", ".join(base.label for base in lock.bases)
            raise CannotError("no-such-base", f"the lock has no base {label!r}", why=f"it has {known or 'none'}")
        self._check_budget(composition)
        found: list[VerifiedRelease] = []
        for name in composition.order:
            release = lock.release(name, label)
            if release is None:
                raise IntegrityError("lock-mismatch", f"patchpm.lock orders {name} but does not pin it")
            base = _base_of(lock, release)
            verified = self._verify(release, self._installed(release)).require()
            check_manifest(release, base, verified.manifest)
            found.append(verified)
        check_set(lock, composition, [item.manifest for item in found])
        return composition, found

    def _check_budget(self, composition: Composition) -> None:
        allowed = self.policy.max_tokens
        if allowed is not None and composition.tokens > allowed:
            raise TrustError(
                "token-budget",
                f"the patch set of {composition.base} is larger than your policy allows",
                why=f"it has {composition.tokens} prefix tokens, and at most {allowed} are allowed",
                next="leave out a patch, or run `patchpm lock` to find versions that cost less",
            )

    def _stored(self, release: LockedRelease) -> ReleaseFiles | None:
        return self.store.get(release.manifest, release.prefix, release.attestations)

    def _installed(self, release: LockedRelease) -> ReleaseFiles:
        files = self._stored(release)
        if files is None:
            raise CannotError(
                "not-installed", f"{release.name} {release.version} is not in the store", next="run `patchpm install`"
            )
        return files

    def _verify(self, release: LockedRelease, files: ReleaseFiles) -> Verdict:
        return verify_release(
            files,
            keys=[PublicKey.parse(text) for text in release.signers],
            threshold=release.threshold,
            policy=self.policy,
            now=self.now,
            expected=release,
            vocabulary_norm=self.vocabulary_norm,
        )


def check_manifest(release: LockedRelease, base: LockedBase, manifest: Manifest) -> None:
    """Make sure that the lock says of a release what the release's signed manifest says.

    Raises:
        IntegrityError: `lock-mismatch`, or `base-mismatch`.
    """
    pairs = (
        ("domain", release.domain, manifest.domain),
        ("tokens", release.tokens, manifest.prefix.tokens),
        ("requires", release.requires, manifest.compose.requires),
    )
    for field, locked, signed in pairs:
        if locked != signed:
            raise _mismatch(
                f"the {field} of {release.name} {release.version} is {signed} in its manifest, not {locked}"
            )
    if manifest.base.match(base.fingerprint) is None:
        raise IntegrityError(
            "base-mismatch",
            f"{release.name} {release.version} was not made for the base {base.label}",
            why=f"it was made for {manifest.base.name} ({manifest.base.tensors})",
            next="run `patchpm lock` to choose releases for your base",
        )


def check_sets(lock: Lock, manifests: dict[tuple[str, str], Manifest]) -> None:
    """Make sure that every composition of the lock is what the manifests allow; see `check_set`."""
    for composition in lock.compositions:
        members = [manifests.get((composition.base, str(name))) for name in composition.order]
        check_set(lock, composition, [member for member in members if member is not None])


def check_set(lock: Lock, composition: Composition, members: Sequence[Manifest]) -> None:
    """Make sure that a composition is complete, allowed, ordered and counted as its manifests want.

    Raises:
        IntegrityError: `lock-mismatch`.
    """
    locked = {release.name for release in lock.releases if release.base == composition.base}
    if sorted(member.name for member in members) != sorted(composition.order) or locked != set(composition.order):
        raise _mismatch(f"the order for {composition.base} does not hold each of its patches once")
    _check_company(members)
    fault = order_fault(members)
    if fault is not None:
        raise _mismatch(fault)
    if composition.tokens != sum(member.prefix.tokens for member in members):
        raise _mismatch(f"the patch set of {composition.base} does not have {composition.tokens} tokens")
    rows = [(member.name, member.version, member.prefix.file.digest) for member in members]
    if composition.digest != set_digest(composition.anchor, rows):
        raise _mismatch(f"the digest of the patch set of {composition.base} is another one")
    for member in members:
        if composition.anchor not in member.prefix.anchors:
            raise _mismatch(f"{member.name} {member.version} was not made for the anchor {composition.anchor}")


def _check_company(members: Sequence[Manifest]) -> None:
    present = {member.name: member.version for member in members}
    for member in members:
        for name, wanted in member.compose.requires:
            if name not in present or not wanted.contains(present[name], prereleases=True):
                raise _mismatch(f"{member.name} {member.version} requires {name} {wanted}, which is not there")
        for name, clashing in member.compose.conflicts:
            if name in present and clashing.contains(present[name], prereleases=True):
                raise _mismatch(f"{member.name} {member.version} conflicts with {name} {present[name]}")


@contextmanager
def _coming(
    missing: Mapping[Digest, LockedRelease], bring: Callable[[LockedRelease], VerifiedRelease]
) -> Iterator[Callable[[Digest], VerifiedRelease]]:
    """Bring several releases at once, since each waits for the network and the disk; gives what waits for one."""
    if len(missing) < 2:
        yield lambda digest: bring(missing[digest])
        return
    from concurrent.futures import ThreadPoolExecutor  # a frozen install with nothing to fetch starts without it

    pool = ThreadPoolExecutor(_PARALLEL)
    try:
        running = {digest: pool.submit(bring, release) for digest, release in missing.items()}
        yield lambda digest: running[digest].result()
    finally:
        pool.shutdown(cancel_futures=True)


def _base_of(lock: Lock, release: LockedRelease) -> LockedBase:
    for base in lock.bases:
        if base.label == release.base:
            return base
    raise _mismatch(f"{release.name} is pinned for {release.base!r}, which is none of its bases")


def _mismatch(why: str) -> IntegrityError:
    return IntegrityError(
        "lock-mismatch",
        "patchpm.lock does not fit what is signed",
        why=why,
        next="take the lock from version control, or run `patchpm lock` to make it anew",
    )
