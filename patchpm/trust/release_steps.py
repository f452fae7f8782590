"""The steps of verifying a release, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from patchpm.errors import IntegrityError, TrustError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef, Manifest
from patchpm.patch.manifest_json import read_manifest
from patchpm.patch.prefix import PrefixMatrix, read_prefix
from patchpm.patch.release import ATTESTATIONS, MANIFEST, MAX_BYTES, PREFIX, ReleaseFiles
from patchpm.trust.attestations import Attestation, read_attestations
from patchpm.trust.evaluation import Evaluation, SignedEvaluation
from patchpm.trust.keys import PublicKey
from patchpm.trust.policy import KeySet, Policy, key_set
from patchpm.trust.statement import EVALUATION, EVALUATION_V1, RELEASE, ReleaseClaim, subjects_of
from patchpm.trust.verdict import Check, Status


class Promise(Protocol):
    """What is known of a release before it is opened. The registry's index and the lock each make one."""

    @property
    def path(self) -> str:
        """`vendor/name/version/base12`."""

    @property
    def manifest(self) -> FileRef:
        """Size and digest of `manifest.json`."""

    @property
    def prefix(self) -> FileRef:
        """Size and digest of `prefix.safetensors`."""

    @property
    def attestations(self) -> FileRef:
        """Size and digest of `attestations.jsonl`."""


@dataclass
class ReleaseCase:
    """One verification: what is known beforehand, and then what each step has established for the ones after it."""

    files: ReleaseFiles
    told: frozenset[PublicKey]
    threshold: int
    policy: Policy
    now: datetime
    expected: Promise | None
    published: datetime | None
    vocabulary_norm: float | None

    attestations: tuple[Attestation, ...] = ()
    evaluations: tuple[SignedEvaluation, ...] = ()
    statement: Attestation = field(init=False)
    claim: ReleaseClaim = field(init=False)
    vendor_keys: KeySet = field(init=False)
    signers: frozenset[PublicKey] = field(init=False)
    manifest: Manifest = field(init=False)
    matrix: PrefixMatrix = field(init=False)

    def steps(self) -> tuple[tuple[str, Callable[[], str | Check]], ...]:
        """The protocol. No byte is interpreted before its size and digest are checked, where one was promised."""
        return (
            ("manifest-digest", lambda: self._check_file(MANIFEST, self.files.manifest)),  # (1)
            ("prefix-digest", lambda: self._check_file(PREFIX, self.files.prefix)),  # (2)
            ("attestations-digest", lambda: self._check_file(ATTESTATIONS, self.files.attestations)),  # (3)
            ("statement", self._check_statement),  # (4) exactly one release statement
            ("vendor-keys", self._check_vendor_keys),  # (5) the vendor's keys are those of the policy
            ("signatures", self._check_signatures),  # (6) k of n different keys signed it
            ("subjects", self._check_subjects),  # (7) it is about the two files opened here
            ("manifest", self._check_manifest),  # (8) the manifest reads, and says what the statement says
            ("address", self._check_address),  # (9) it is the release that was asked for
            ("prefix", self._check_prefix),  # (10) the prefix reads, and is what the manifest says
            ("norms", self._check_norms),  # (11) no row is out of all proportion
            ("denials", self._check_denials),  # (12) the policy does not rule it out
            ("evaluations", self._check_evaluations),  # (13) those who must have measured it have
            ("age", self._check_age),  # (14) it is old enough
        )

    def _check_file(self, file: str, data: bytes) -> str | Check:
        if len(data) > MAX_BYTES[file]:
            raise IntegrityError(
                "wrong-size",
                f"{file} is too large",
                why=f"{len(data):,} bytes; at most {MAX_BYTES[file]:,} are allowed",
            )
        found = Digest.of(data)
        if self.expected is None:
            return Check(f"{file.partition('.')[0]}-digest", Status.SKIP, f"no digest was promised; it is {found}")
        promised = {
            MANIFEST: self.expected.manifest,
            PREFIX: self.expected.prefix,
            ATTESTATIONS: self.expected.attestations,
        }[file]
        if FileRef(len(data), found) != promised:
            raise IntegrityError(
                "wrong-digest",
                f"{file} of {self.expected.path} is not the file that was promised",
                why=f"promised are {promised.size:,} bytes, {promised.digest}; found are {len(data):,}, {found}",
                next="get it again; if that fails too, tell whoever runs the registry",
            )
        return str(found)

    def _check_statement(self) -> str:
        self.attestations = read_attestations(self.files.attestations)
        release = [item for item in self.attestations if item.statement.predicate_type == RELEASE]
        if len(release) != 1:
            raise IntegrityError(
                "no-release-statement",
                f"{ATTESTATIONS} must hold exactly one release statement",
                why=f"it holds {len(release)}",
            )
        self.statement = release[0]
        self.claim = ReleaseClaim.read(self.statement.statement)
        return f"a release of {self.claim.name} {self.claim.version}, and {len(self.attestations) - 1} other statements"

    def _check_vendor_keys(self) -> str:
        vendor = self.claim.name.vendor
        self.vendor_keys = self.policy.vendor_keys(vendor, key_set(self.told, self.threshold))
        source = "as the policy pins them" if self.policy.vendor(vendor) else "as the registry delegates to them"
        return f"{len(self.vendor_keys.keys)} of {vendor}, {source}"

    def _check_signatures(self) -> str:
        self.signers = self.statement.envelope.signed_by(self.vendor_keys.keys)
        return self._enough(self.signers, self.vendor_keys, self.claim.name.vendor)

    def _check_subjects(self) -> str:
        found = subjects_of(self.files.manifest, self.files.prefix)
        for item in self.attestations:
            for (file, said), (_, digest) in zip(item.statement.subjects, found, strict=True):
                if said != digest:
                    raise IntegrityError(
                        "wrong-subject",
                        f"{file} is not the file that was signed",
                        why=f"{ATTESTATIONS} is about {said}; found is {digest}",
                        next="do not use this release; get it again from its registry",
                    )
        return f"{MANIFEST} and {PREFIX} are the files that were signed"

    def _check_manifest(self) -> str:
        self.manifest = read_manifest(self.files.manifest)
        found = ReleaseClaim.of(self.manifest)
        if found != self.claim:
            raise IntegrityError(
                "wrong-manifest",
                f"{MANIFEST} says something else than the statement that signs it",
                why=f"{found.name} {found.version} for {found.base}, "
                f"against {self.claim.name} {self.claim.version} for {self.claim.base}",
            )
        return f"{found.name} {found.version} for {self.manifest.base.name}"

    def _check_address(self) -> str | Check:
        found = path_of(self.manifest)
        if self.expected is None:
            return Check("address", Status.SKIP, f"no release was asked for by name; this is {found}")
        if found != self.expected.path:
            raise IntegrityError(
                "wrong-release",
                f"{MANIFEST} is that of another release",
                why=f"asked for was {self.expected.path}; this is {found}",
            )
        return found

    def _check_prefix(self) -> str:
        promised = self.manifest.prefix
        found = FileRef(len(self.files.prefix), Digest.of(self.files.prefix))
        if found != promised.file:
            raise IntegrityError(
                "wrong-digest",
                f"{PREFIX} is not the one that {MANIFEST} describes",
                why=f"described are {promised.file.size:,} bytes with {promised.file.digest}; "
                f"found are {found.size:,} with {found.digest}",
            )
        self.matrix = read_prefix(self.files.prefix, promised, self.manifest.base.hidden_size)
        return f"{promised.tokens} x {self.manifest.base.hidden_size} {promised.dtype}, all finite"

    def _check_norms(self) -> str | Check:
        if self.vocabulary_norm is None:
            return Check("norms", Status.SKIP, "the base model is not at hand; checked when the patch is applied")
        ratio = max(self.matrix.norms()) / self.vocabulary_norm
        if ratio > self.policy.max_norm_ratio:
            raise TrustError(
                "prefix-norm",
                f"{PREFIX} is out of proportion to the base model",
                why=f"its longest row is {ratio:.3g} times the longest row of the vocabulary; "
                f"the policy allows {self.policy.max_norm_ratio:g}",
            )
        return f"longest row {ratio:.3g} times that of the vocabulary"

    def _check_denials(self) -> str:
        name, domain = self.manifest.name, self.manifest.domain
        denial = self.policy.denial(name)
        if denial is not None:
            raise TrustError(
                "denied",
                f"the policy denies {name}",
                why=f"{denial.match}: {denial.reason}",
                next="choose another patch",
            )
        vendor = self.policy.vendor(name.vendor)
        if vendor is not None and vendor.domains and domain not in vendor.domains:
            raise TrustError(
                "wrong-domain",
                f"the policy does not let {name.vendor} make patches for {domain}",
                why=f"{MANIFEST} of {name} says {domain}; allowed are {', '.join(vendor.domains)}",
            )
        return f"nothing in the policy rules out {name} ({domain})"

    def _check_evaluations(self) -> str | Check:
        found = [(item, self._believed(item)) for item in self.attestations]
        # What nobody signed whom the policy names says nothing, so it is not even read.
        self.evaluations = tuple(
            SignedEvaluation(name, self._evaluation(item, name)) for item, names in found for name in names
        )
        signed = sorted({item.by for item in self.evaluations})
        missing = sorted(set(self.policy.required_evaluators(self.manifest.name)) - set(signed))
        if missing:
            raise TrustError(
                "evaluation-missing",
                f"{ATTESTATIONS} lacks an evaluation that the policy requires",
                why=f"{self.manifest.name} must have been evaluated by {', '.join(missing)}",
                next="ask the vendor for a release with these evaluations",
            )
        unknown = sum(not names for _, names in found) - 1
        detail = f"evaluated by {', '.join(signed) or 'nobody the policy names'}; {unknown} other statements"
        return detail if signed else Check("evaluations", Status.SKIP, f"none is required; {detail}")

    def _believed(self, item: Attestation) -> list[str]:
        """Who signed a statement as an evaluation, of those whom the policy names."""
        if item.statement.predicate_type not in (EVALUATION, EVALUATION_V1):
            return []
        return [
            party.name
            for party in self.policy.evaluators
            if len(item.envelope.signed_by(party.keys.keys)) >= party.keys.threshold
        ]

    def _evaluation(self, item: Attestation, name: str) -> Evaluation | None:
        if item.statement.predicate_type == EVALUATION_V1:
            return None
        found = Evaluation.read(item.statement)
        if found.base != self.manifest.base.tensors:
            raise IntegrityError(
                "wrong-evaluation",
                f"an evaluation by {name} is of another base model",
                why=f"it was measured on {found.base}; {MANIFEST} is for {self.manifest.base.tensors}",
                next=f"ask {name} to measure it on the base that it is made for",
            )
        return found

    def _check_age(self) -> str | Check:
        wanted = self.policy.min_age(self.manifest.name)
        if not wanted:
            return Check("age", Status.SKIP, "the policy asks for no minimum age")
        if self.published is None:
            return Check("age", Status.SKIP, "checked when the release was chosen from the registry")
        age = self.now - self.published
        if age < wanted:
            raise TrustError(
                "too-young",
                f"{self.manifest.name} {self.manifest.version} was published too recently",
                why=f"it is {age} old, and the policy wants {wanted}",
                next="wait, or lock an older version",
            )
        return f"published {age} ago"

    def _enough(self, signers: frozenset[PublicKey], wanted: KeySet, who: str) -> str:
        if len(signers) < wanted.threshold:
            raise TrustError(
                "too-few-signatures",
                f"{ATTESTATIONS} is not signed by {who} as it must be",
                why=f"{len(signers)} of the {len(wanted.keys)} keys of {who} signed; {wanted.threshold} are needed",
                next="do not use this release; get it again from its registry",
            )
        return f"{len(signers)} of {len(wanted.keys)} keys signed, {wanted.threshold} needed"


def path_of(manifest: Manifest) -> str:
    """Address of the release with this manifest, see `Promise.path`."""
    return f"{manifest.name}/{manifest.version}/{manifest.base.short}"
