"""Verifying a release: three files of unknown origin in, a verdict out.

This is the one way to a `VerifiedRelease`, and only that can be stored, composed or applied. Install, frozen install,
`verify` and load all come through here; they differ in what they know beforehand (`Promise`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from patchpm.errors import PatchpmError
from patchpm.patch.manifest import Manifest
from patchpm.patch.prefix import PrefixMatrix
from patchpm.patch.release import ReleaseFiles
from patchpm.trust.evaluation import SignedEvaluation
from patchpm.trust.keys import PublicKey
from patchpm.trust.policy import KeySet, Policy
from patchpm.trust.release_steps import Promise, ReleaseCase, path_of
from patchpm.trust.verdict import Check, Status

_SEAL: Final = object()


@dataclass(frozen=True)
class VerifiedRelease:
    """A release that passed every check. `Verdict.require` is the only place to get one."""

    files: ReleaseFiles
    manifest: Manifest
    matrix: PrefixMatrix
    signers: frozenset[PublicKey]
    """Keys of the vendor that signed."""
    vendor_keys: KeySet
    """All keys that the vendor may sign with, and how many must."""
    evaluations: tuple[SignedEvaluation, ...]
    """By those whom the policy names, in the order in which they stand."""
    seal: object

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise TypeError("a VerifiedRelease comes from verify_release only")

    @property
    def evaluators(self) -> tuple[str, ...]:
        """Names, from the policy, of those who signed an evaluation; sorted."""
        return tuple(sorted({item.by for item in self.evaluations}))

    @property
    def path(self) -> str:
        """`vendor/name/version/base12`."""
        return path_of(self.manifest)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of verifying one release."""

    checks: tuple[Check, ...]
    """In the order they were made."""
    release: VerifiedRelease | None
    """There if, and only if, no check failed."""

    @property
    def ok(self) -> bool:
        """Whether every check that was made passed."""
        return self.release is not None

    def require(self) -> VerifiedRelease:
        """The verified release.

        Raises:
            IntegrityError: of the check that failed, naming the file; `TrustError` where it was about trust.
        """
        for check in self.checks:
            if check.error is not None:
                raise check.error
        assert self.release is not None  # verify_release makes one when nothing failed
        return self.release


def verify_release(
    files: ReleaseFiles,
    *,
    keys: Iterable[PublicKey],
    threshold: int,
    policy: Policy,
    now: datetime,
    expected: Promise | None = None,
    published: datetime | None = None,
    vocabulary_norm: float | None = None,
) -> Verdict:
    """Decide whether three files are a release that this policy accepts.

    Args:
        files: The bytes.
        keys: The vendor's keys, as the registry or the lock tells them.
        threshold: How many of them must have signed.
        policy: What the user accepts.
        now: The time, with time zone.
        expected: What the registry or the lock promised; None for a release that stands alone.
        published: When the registry says that it was published; None leaves the age unchecked, as for a lock, whose
            releases were old enough when it was made.
        vocabulary_norm: Euclidean norm of the longest row of the base's vocabulary, where the base is at hand.

    Returns:
        A verdict that lists every check.
    """
    case = ReleaseCase(files, frozenset(keys), threshold, policy, now, expected, published, vocabulary_norm)
    checks: list[Check] = []
    failed: str | None = None
    for name, step in case.steps():
        if failed is not None:
            checks.append(Check(name, Status.SKIP, f"not looked at, since {failed} failed"))
            continue
        try:
            found = step()
        except PatchpmError as error:
            failed = name
            checks.append(Check(name, Status.FAIL, ": ".join(filter(None, (error.what, error.why))), error))
        else:
            checks.append(found if isinstance(found, Check) else Check(name, Status.PASS, found))
    return Verdict(tuple(checks), None if failed else _verified(case))


def _verified(case: ReleaseCase) -> VerifiedRelease:
    return VerifiedRelease(
        case.files, case.manifest, case.matrix, case.signers, case.vendor_keys, case.evaluations, _SEAL
    )
