"""Changing a registry by compare-and-swap.

Every change reads the state, makes the new one, proves it as a client would, and commits it only if nobody else was
faster; else it starts over, so that of many publishers at once none is lost.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from patchpm.errors import CannotError, IntegrityError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest_json import read_manifest
from patchpm.patch.name import PatchName, check_vendor
from patchpm.patch.release import ReleaseFiles
from patchpm.patch.version import Version
from patchpm.registry.acceptance import acceptance
from patchpm.registry.draft import ANY_TIME, Overlay, load_bins, load_role, load_state
from patchpm.registry.edit import Bench, Edit, handed_in, sealed, unsealed
from patchpm.registry.host import Change, Forum, Host
from patchpm.registry.listing import bits_for
from patchpm.registry.operation import creation, delegation, renewal, rotation
from patchpm.registry.publication import deprecation, publication, withdrawal
from patchpm.registry.roles import Lifetimes, RootRoles
from patchpm.trust.policy import KeySet
from patchpm.trust.private_keys import Signer
from patchpm.trust.tuf_state import TrustedState

_ATTEMPTS: Final = 200
_LONGEST_PAUSE_SECONDS: Final = 0.5

DEFAULT_LIFETIMES: Final = Lifetimes()


class RegistryWriter:
    """Changes one registry.

    Args:
        host: Where its files are.
        signers: All keys at hand; each is used where the registry's root or a delegation gives it a say. Snapshot and
            timestamp are signed anew by every change.
        now: The time of the change, with time zone.
        lifetimes: How long what is signed is good for.
        spread: How many bits of bins a registry of so many vendors needs; asked when a vendor is added.
        forum: Where a vendor who lacks the registry's own keys hands a change in, instead of making it.
    """

    def __init__(
        self,
        host: Host,
        signers: Sequence[Signer],
        now: datetime,
        *,
        lifetimes: Lifetimes = DEFAULT_LIFETIMES,
        spread: Callable[[int], int] = bits_for,
        forum: Forum | None = None,
    ) -> None:
        self.host = host
        self.proposal: str | None = None
        """Address of the proposal that the last change became."""
        self._forum = forum
        self._bench = Bench(tuple(signers), now, lifetimes, spread)

    def create(self, top: RootRoles) -> Digest:
        """Make a new, empty registry.

        Args:
            top: Whose keys sign what.

        Returns:
            The digest of its root, for people to pin.

        Raises:
            CannotError: `registry-exists`, or where the place cannot be written.
            UsageError: `missing-key`.
        """
        expect = self.host.head()
        if expect:
            raise CannotError("registry-exists", "there is a registry here already", why=self.host.where)
        edit = creation(self._bench, top)
        self._commit(None, edit, expect)
        assert edit.root is not None  # creation makes one
        return Digest.of(edit.root.data)

    def add_vendor(self, vendor: str, keys: KeySet, *, allow_lookalike: bool = False) -> bool:
        """Give a vendor the namespace `vendor/*`. Takes the keys of targets.

        Args:
            vendor: Their name.
            keys: Their public keys, and how many of them must sign a release.
            allow_lookalike: Take a name that could be mistaken for another one.

        Returns:
            False if that changes nothing.

        Raises:
            UsageError: `invalid-name`, `lookalike-name` or `missing-key`.
            TrustError: `vendor-exists` for one that is there with other keys.
        """
        check_vendor(vendor)
        return self._change(
            lambda state: delegation(state, self.host, self._bench, vendor, keys, allow_lookalike=allow_lookalike)
        )

    def publish(self, files: ReleaseFiles) -> bool:
        """Add a release. Takes the keys of its vendor.

        Args:
            files: A signed release; verified here just as an installer does.

        Returns:
            False if these very bytes were published before.

        Raises:
            IntegrityError: as `patchpm.trust.release.verify_release`.
            CannotError: `unknown-vendor`, `already-published` or `same-version`.
            UsageError: `missing-key`.
        """
        vendor = read_manifest(files.manifest).name.vendor
        return self._change(lambda state: publication(state, self.host, self._bench, vendor, files))

    def yank(self, name: PatchName, version: Version, reason: str | None) -> bool:
        """Withdraw a version for all bases: it is not newly chosen, and still installs from a lock.

        Args:
            name: The patch.
            version: The version.
            reason: Shown to whoever has it; None brings the version back.

        Returns:
            False if that changes nothing.

        Raises:
            CannotError: `unknown-vendor` or `unknown-release`.
            UsageError: `missing-key`, or `invalid-entry` for a reason that cannot be shown.
        """
        return self._change(lambda state: withdrawal(state, self.host, self._bench, name, version, reason))

    def deprecate(self, name: PatchName, version: Version | None, advice: str | None) -> bool:
        """Advise against a version, or against all versions: whoever installs it is warned, and gets it.

        Args:
            name: The patch.
            version: The version; None for all there are.
            advice: What to use instead; None takes it back.

        Returns:
            False if that changes nothing.

        Raises:
            CannotError: `unknown-vendor` or `unknown-release`.
            UsageError: `missing-key`, or `invalid-entry` for an advice that cannot be shown.
        """
        return self._change(lambda state: deprecation(state, self.host, self._bench, name, version, advice))

    def preview(self, files: ReleaseFiles) -> tuple[Change, ...]:
        """What `publish` would write now, in order; empty if these very bytes were published before.

        Raises:
            IntegrityError, CannotError, UsageError: as `publish`.
        """
        vendor = read_manifest(files.manifest).name.vendor
        state = load_state(self.host, ANY_TIME)
        edit = publication(state, self.host, self._bench, vendor, files)
        if edit is None:
            return ()
        return sealed(state, edit, self._bench) if self._forum is None else unsealed(edit)

    def accept(self, vendor: str, role: bytes) -> None:
        """Take a role that a vendor proposed, after checking it and every new release in it.

        Args:
            vendor: Whose it must be.
            role: The bytes.

        Raises:
            TrustError, IntegrityError, CannotError: as `acceptance`.
            UsageError: `missing-key`.
        """
        self._change(lambda state: acceptance(state, self.host, self._bench, vendor, role))

    def rotate_root(self, top: RootRoles) -> Digest:
        """Give the top-level roles other keys. Takes the old root's keys and the new ones of every role that changes.

        Returns:
            The digest of the new root. Clients that pinned an older one follow by themselves.

        Raises:
            UsageError: `missing-key`.
        """
        self._change(lambda state: rotation(state, self.host, self._bench, top))
        return Digest.of(load_state(self.host, ANY_TIME).root.data)

    def root_keys(self) -> KeySet:
        """The keys of root as the registry has them now."""
        return load_state(self.host, ANY_TIME).root_keys("root")

    def refresh(self) -> None:
        """Renew timestamp and snapshot, and whatever else is past half of its life and can be signed with these keys.

        Raises:
            UsageError: `missing-key`.
            TrustError: `expired-metadata` for something that has expired and that these keys cannot renew.
        """
        self._change(lambda state: renewal(state, self.host, self._bench))

    def _change(self, make: Callable[[TrustedState], Edit | None]) -> bool:
        for attempt in range(1, _ATTEMPTS + 1):
            expect = self.host.head()
            try:
                state = load_state(self.host, ANY_TIME)
                edit = make(state)
            except IntegrityError:
                if self.host.head() == expect:
                    raise
                continue  # it was read while someone else committed
            if edit is None:
                return False
            if self._forum is not None:
                self.proposal = handed_in(self._forum, edit)
                return True
            try:
                self._commit(state, edit, expect)
            except CannotError as error:
                if error.code != "publish-conflict" or attempt == _ATTEMPTS:
                    raise
                time.sleep(random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.01 * attempt)))
            else:
                return True
        raise AssertionError("the last attempt returns or raises")

    def _commit(self, state: TrustedState | None, edit: Edit, expect: str) -> None:
        changes = sealed(state, edit, self._bench)
        after = Overlay(self.host, dict(changes))
        proof = load_state(after, self._bench.now)
        load_bins(after, proof, only=dict(changes))
        for vendor in edit.vendors:
            load_role(after, proof, vendor)
        self.host.commit(changes, expect)
