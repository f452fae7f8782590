"""Attacks on what evaluators say: their word moved, bent, made up, or said by somebody else."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.prefix import write_prefix
from patchpm.patch.release import ReleaseFiles
from patchpm.trust.attestations import attest, read_attestations, sign_release, write_attestations
from patchpm.trust.envelope import Envelope, sign
from patchpm.trust.policy import Demand, EvaluatorTrust, NamePattern, Policy
from patchpm.trust.private_keys import PrivateKey, generate
from patchpm.trust.release import Verdict, verify_release
from patchpm.trust.statement import EVALUATION, EVALUATION_V1
from tests.builders import digest, evaluation, manifest, matrix
from tests.simulator import START, keys_of, refused

KEY = generate()
EVALUATOR = generate()
SECOND = generate("p256")
DEMAND = Demand(NamePattern("acme/*"), ("labx",), timedelta())
POLICY = Policy(evaluators=(EvaluatorTrust("labx", keys_of(EVALUATOR)),), demands=(DEMAND,))
KNOWN = replace(POLICY, demands=())
"""The same, but it asks for nothing."""


def release(seed: int = 0) -> ReleaseFiles:
    rows = matrix(seed=seed)
    return sign_release(write_manifest(manifest(prefix=rows)), write_prefix(rows), [KEY])


def judge(files: ReleaseFiles, policy: Policy = POLICY) -> Verdict:
    return verify_release(files, keys=[KEY.public], threshold=1, policy=policy, now=START)


def evaluated(seed: int = 0, by: PrivateKey = EVALUATOR, **changes: Any) -> ReleaseFiles:
    return attest(release(seed), EVALUATION, evaluation(**changes).to_json(), [by])


def envelopes(files: ReleaseFiles) -> list[Envelope]:
    return [item.envelope for item in read_attestations(files.attestations)]


def bent(change: dict[str, Any], *keys: PrivateKey) -> ReleaseFiles:
    """A release whose evaluation says something else, signed by `keys`."""
    return attest(release(), EVALUATION, {**evaluation().to_json(), **change}, keys or [EVALUATOR])


def test_an_honest_evaluation_is_read() -> None:
    (found,) = judge(evaluated()).require().evaluations
    assert (found.by, found.evaluation) == ("labx", evaluation())


def test_an_evaluation_copied_from_another_release_is_refused() -> None:
    own, other = envelopes(release()), envelopes(evaluated(seed=7))
    mixed = replace(release(), attestations=write_attestations([own[0], other[1]]))
    with refused("wrong-subject", "manifest.json"):
        judge(mixed).require()


def test_an_evaluation_signed_again_by_a_stranger_is_nobodys_word() -> None:
    stranger = generate()
    honest = envelopes(evaluated())
    resigned = replace(release(), attestations=write_attestations([honest[0], sign(honest[1].payload, [stranger])]))
    with refused("evaluation-missing", "labx"):
        judge(resigned).require()
    assert judge(resigned, KNOWN).require().evaluations == ()


def test_a_strangers_signature_under_the_evaluators_id_is_refused() -> None:
    honest, forged = envelopes(evaluated()), envelopes(evaluated(by=generate()))
    lied = replace(forged[1].signatures[0], key_id=EVALUATOR.public.id)
    files = replace(release(), attestations=write_attestations([honest[0], replace(forged[1], signatures=(lied,))]))
    with refused("bad-signature", "attestations.jsonl"):
        judge(files, KNOWN).require()


def test_an_evaluation_whose_figures_were_changed_after_it_was_signed_is_refused() -> None:
    files = evaluated()
    lines = [json.loads(line) for line in files.attestations.splitlines()]
    payload = base64.b64decode(lines[1]["payload"])
    assert b'"after":0.1,' in payload
    lines[1]["payload"] = base64.b64encode(payload.replace(b'"after":0.1,', b'"after":0.0,')).decode()
    with refused("bad-signature", "attestations.jsonl"):
        judge(replace(files, attestations=b"".join(json.dumps(line).encode() + b"\n" for line in lines))).require()


@pytest.mark.parametrize(
    "change",
    [{"approved": True}, {"limited": True}, {"schema": 2}, {"claims": []}, {"suites": []}, {"base": "0" * 64}],
    ids=["surplus field", "limited", "later schema", "no figures", "no suites", "bare digest"],
)
def test_a_forged_predicate_is_refused_even_where_no_evaluation_is_required(change: dict[str, object]) -> None:
    for policy in (POLICY, KNOWN):
        with refused("malformed-evaluation", "attestations.jsonl"):
            judge(bent(change), policy).require()


def test_what_a_stranger_calls_an_evaluation_is_not_even_read() -> None:
    assert judge(bent({"approved": True}, generate()), KNOWN).require().evaluations == ()


def test_an_evaluation_of_another_base_model_is_refused() -> None:
    with refused("wrong-evaluation", "labx"):
        judge(evaluated(base=digest("another base"))).require()


def test_one_of_two_keys_of_an_evaluator_is_too_few() -> None:
    both = replace(POLICY, evaluators=(EvaluatorTrust("labx", keys_of(EVALUATOR, SECOND, threshold=2)),))
    with refused("evaluation-missing", "labx"):
        judge(evaluated(), both).require()
    files = attest(release(), EVALUATION, evaluation().to_json(), [EVALUATOR, SECOND])
    assert judge(files, both).require().evaluators == ("labx",)


def test_two_evaluations_by_one_key_each_do_not_make_one_by_two_keys() -> None:
    both = replace(POLICY, evaluators=(EvaluatorTrust("labx", keys_of(EVALUATOR, SECOND, threshold=2)),))
    files = attest(evaluated(), EVALUATION, evaluation(code="patchpm 0.2.0").to_json(), [SECOND])
    with refused("evaluation-missing", "labx"):
        judge(files, both).require()


def test_an_old_evaluation_counts_and_nothing_in_it_is_believed() -> None:
    files = attest(release(), EVALUATION_V1, {"claims": "all wonderful"}, [EVALUATOR])
    (found,) = judge(files).require().evaluations
    assert (found.by, found.evaluation) == ("labx", None)


def test_an_evaluation_cannot_be_taken_for_the_vendors_word() -> None:
    only = replace(release(), attestations=write_attestations(envelopes(evaluated())[1:]))
    with refused("no-release-statement", "attestations.jsonl"):
        judge(only).require()
