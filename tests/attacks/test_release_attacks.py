"""Attacks on a release that stands alone: no registry, only three files, the vendor's keys and a policy."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from patchpm.errors import IntegrityError, TrustError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef, Manifest
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.prefix import PrefixMatrix, write_prefix
from patchpm.patch.release import ReleaseFiles
from patchpm.trust.attestations import attest, countersign_release, sign_release, write_attestations
from patchpm.trust.envelope import sign
from patchpm.trust.policy import Demand, Denial, EvaluatorTrust, NamePattern, Policy, VendorTrust
from patchpm.trust.private_keys import PrivateKey, generate
from patchpm.trust.release import Verdict, VerifiedRelease, verify_release
from patchpm.trust.statement import EVALUATION, RELEASE, ReleaseClaim, Statement, subjects_of, write_statement
from tests.builders import digest, evaluation, manifest, matrix
from tests.simulator import START, keys_of, refused

KEY = generate()
SECOND = generate("p256")
EVALUATOR = generate()


def release(made: Manifest | None = None, rows: PrefixMatrix | None = None, *keys: PrivateKey) -> ReleaseFiles:
    rows = rows or matrix()
    return sign_release(write_manifest(made or manifest(prefix=rows)), write_prefix(rows), keys or (KEY,))


def judge(files: ReleaseFiles, policy: Policy | None = None, *keys: PrivateKey, threshold: int = 1) -> Verdict:
    public = [key.public for key in keys or (KEY,)]
    return verify_release(files, keys=public, threshold=threshold, policy=policy or Policy(), now=START)


def saying(files: ReleaseFiles, claim: ReleaseClaim, *more: Statement) -> ReleaseFiles:
    """The same files under another statement, rightly signed."""
    statements = [Statement(RELEASE, subjects_of(files.manifest, files.prefix), claim.to_json()), *more]
    envelopes = [sign(write_statement(statement), [KEY]) for statement in statements]
    return replace(files, attestations=write_attestations(envelopes))


def test_an_honest_release_passes_and_every_check_is_listed() -> None:
    verdict = judge(release())
    assert verdict.ok
    assert [check.name for check in verdict.checks] == [
        "manifest-digest",
        "prefix-digest",
        "attestations-digest",
        "statement",
        "vendor-keys",
        "signatures",
        "subjects",
        "manifest",
        "address",
        "prefix",
        "norms",
        "denials",
        "evaluations",
        "age",
    ]


def test_after_a_failed_check_nothing_else_is_looked_at() -> None:
    verdict = judge(release(), None, generate())
    assert not verdict.ok
    states = [(check.name, check.status.value) for check in verdict.checks]
    assert states[5] == ("signatures", "fail")
    assert {state for _, state in states[6:]} == {"skip"}


def test_a_verified_release_cannot_be_made_by_hand() -> None:
    made = judge(release()).require()
    with pytest.raises(TypeError, match="verify_release"):
        VerifiedRelease(
            made.files, made.manifest, made.matrix, made.signers, made.vendor_keys, made.evaluations, object()
        )


def test_arbitrary_install_a_release_signed_by_a_stranger_is_refused() -> None:
    with refused("too-few-signatures", "attestations.jsonl"):
        judge(release(None, None, generate())).require()


def test_threshold_bypass_one_of_two_signatures_is_too_few_and_a_second_key_completes_it() -> None:
    files = release()
    with refused("too-few-signatures", "attestations.jsonl"):
        judge(files, None, KEY, SECOND, threshold=2).require()
    whole = countersign_release(files, SECOND)
    assert judge(whole, None, KEY, SECOND, threshold=2).require().signers == {KEY.public, SECOND.public}


def test_wrong_software_a_signed_statement_about_other_files_is_refused() -> None:
    other = release(rows=matrix(seed=7))
    mixed = replace(release(), attestations=other.attestations)
    with refused("wrong-subject", "manifest.json"):
        judge(mixed).require()


def test_wrong_software_the_prefix_of_another_release_is_refused() -> None:
    mixed = replace(release(), prefix=write_prefix(matrix(seed=7)))
    with refused("wrong-subject", "prefix.safetensors"):
        judge(mixed).require()


@pytest.mark.parametrize(
    "claim",
    [
        ReleaseClaim.of(manifest("acme/bias")),
        ReleaseClaim.of(manifest(version="2.0.0")),
        replace(ReleaseClaim.of(manifest()), base=digest("another base")),
    ],
    ids=["name", "version", "base"],
)
def test_wrong_software_a_statement_that_contradicts_its_manifest_is_refused(claim: ReleaseClaim) -> None:
    files = release()
    with refused("wrong-manifest", "manifest.json"):
        judge(saying(files, claim)).require()


def test_wrong_software_a_manifest_that_describes_another_prefix_is_refused() -> None:
    wrong = FileRef(manifest().prefix.file.size, Digest.of(b"another"))
    made = replace(manifest(), prefix=replace(manifest().prefix, file=wrong))
    with refused("wrong-digest", "prefix.safetensors"):
        judge(release(made)).require()


def test_two_release_statements_in_one_file_are_refused() -> None:
    files = release()
    claim = ReleaseClaim.of(manifest())
    twice = Statement(RELEASE, subjects_of(files.manifest, files.prefix), claim.to_json())
    with refused("no-release-statement", "attestations.jsonl"):
        judge(saying(files, claim, twice)).require()


def test_a_statement_of_another_type_is_no_release_statement() -> None:
    files = release()
    line = json.loads(files.attestations)
    payload = base64.b64decode(line["payload"]).replace(b"release/v1", b"approve/v1")
    forged = replace(files, attestations=write_attestations([sign(payload, [KEY])]))
    with refused("no-release-statement", "attestations.jsonl"):
        judge(forged).require()


def test_any_statement_about_other_files_is_refused_even_beside_a_good_one() -> None:
    files = release()
    foreign = Statement(EVALUATION, subjects_of(b"another manifest", files.prefix), {})
    with refused("wrong-subject", "manifest.json"):
        judge(saying(files, ReleaseClaim.of(manifest()), foreign)).require()


def test_a_statement_with_a_third_subject_is_refused() -> None:
    files = release()
    payload = json.loads(base64.b64decode(json.loads(files.attestations)["payload"]))
    payload["subject"].append({"name": "run.py", "digest": {"sha256": "0" * 64}})
    forged = replace(files, attestations=write_attestations([sign(json.dumps(payload).encode(), [KEY])]))
    with refused("malformed-statement", "attestations.jsonl"):
        judge(forged).require()


def test_key_compromise_keys_that_differ_from_the_pinned_ones_are_an_error_and_never_a_prompt() -> None:
    stolen = generate()
    policy = Policy(vendors=(VendorTrust("acme", keys_of(KEY), ()),))
    with refused("vendor-key-changed", str(stolen.public)):
        judge(release(None, None, stolen), policy, stolen).require()


def test_threshold_bypass_a_registry_cannot_lower_a_pinned_threshold() -> None:
    policy = Policy(vendors=(VendorTrust("acme", keys_of(KEY, SECOND, threshold=2), ()),))
    with refused("too-few-signatures"):
        judge(release(), policy, KEY, SECOND, threshold=1).require()


def test_a_vendor_cannot_leave_the_domains_it_is_trusted_for() -> None:
    policy = Policy(vendors=(VendorTrust("acme", keys_of(KEY), ("bias",)),))
    with refused("wrong-domain", "manifest.json"):
        judge(release(), policy).require()


def test_a_denied_patch_is_refused_however_well_it_is_signed() -> None:
    policy = Policy(denials=(Denial(NamePattern("acme/tox*"), "superseded"),))
    with refused("denied", "superseded"):
        judge(release(), policy).require()


def test_an_evaluation_that_the_policy_requires_must_be_there_and_by_the_right_key() -> None:
    demand = Demand(NamePattern("*/*"), ("labx",), timedelta())
    policy = Policy(evaluators=(EvaluatorTrust("labx", keys_of(EVALUATOR)),), demands=(demand,))
    for files in (release(), attest(release(), EVALUATION, {}, [generate()])):
        with refused("evaluation-missing", "labx"):
            judge(files, policy).require()
    good = attest(release(), EVALUATION, evaluation().to_json(), [EVALUATOR])
    assert judge(good, policy).require().evaluators == ("labx",)


def test_the_vendors_own_word_is_no_evaluation_by_someone_else() -> None:
    demand = Demand(NamePattern("acme/*"), ("labx",), timedelta())
    policy = Policy(evaluators=(EvaluatorTrust("labx", keys_of(EVALUATOR)),), demands=(demand,))
    with refused("evaluation-missing"):
        judge(attest(release(), EVALUATION, {}, [KEY]), policy).require()


def test_a_release_that_is_too_young_is_refused() -> None:
    policy = Policy(demands=(Demand(NamePattern("acme/*"), (), timedelta(hours=24)),))
    options: dict[str, Any] = {"keys": [KEY.public], "threshold": 1, "policy": policy}
    for hours, ok in ((23, False), (24, True)):
        verdict = verify_release(release(), **options, now=START, published=START - timedelta(hours=hours))
        assert verdict.ok is ok
    assert policy.refusal(manifest().name, START - timedelta(hours=23), START) is not None
    assert policy.refusal(manifest().name, START - timedelta(hours=24), START) is None


def test_a_prefix_out_of_all_proportion_is_refused_where_the_base_is_at_hand() -> None:
    longest = max(matrix().norms())
    for norm, ok in ((longest / 7.9, True), (longest / 8.1, False)):
        verdict = verify_release(
            release(), keys=[KEY.public], threshold=1, policy=Policy(), now=START, vocabulary_norm=norm
        )
        assert verdict.ok is ok
    with pytest.raises(TrustError, match="proportion"):
        verdict.require()


def test_endless_data_a_file_over_its_limit_is_refused_before_it_is_read() -> None:
    with refused("wrong-size", "prefix.safetensors"):
        judge(replace(release(), prefix=b"\0" * (8 * 1024 * 1024 + 1))).require()


@pytest.mark.parametrize(
    "attestations",
    [
        b"",
        b"\n",
        b"{}\n",
        b"{}",
        b"not json\n",
        b"\xff\n",
        b'{"payload":"","payloadType":"","signatures":[]}\n',
        b"[]\n",
    ],
)
def test_malformed_attestations_are_refused_by_name(attestations: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"attestations\.jsonl"):
        judge(replace(release(), attestations=attestations)).require()


def test_base64_with_stray_bits_is_refused() -> None:
    files = release()
    value = json.loads(files.attestations)
    signature = value["signatures"][0]["sig"]
    assert signature.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    value["signatures"][0]["sig"] = signature[:-3] + alphabet[alphabet.index(signature[-3]) ^ 1] + "=="
    assert base64.b64decode(value["signatures"][0]["sig"]) == base64.b64decode(signature)
    with refused("malformed-envelope", "attestations.jsonl"):
        judge(replace(files, attestations=json.dumps(value).encode() + b"\n")).require()
