from __future__ import annotations

from dataclasses import replace

import pytest

from patchpm.errors import UsageError
from patchpm.patch.manifest import Claim
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.prefix import write_prefix
from patchpm.patch.release import ATTESTATIONS, MAX_BYTES
from patchpm.trust.attestations import attest, read_attestations, sign_release
from patchpm.trust.evaluation import MAX_SUITES, Evaluation, SuiteRef
from patchpm.trust.private_keys import generate
from patchpm.trust.statement import EVALUATION, Statement
from tests.builders import digest, evaluation, manifest, matrix
from tests.simulator import refused


def claims(count: int, suite: str = "s") -> tuple[Claim, ...]:
    return tuple(Claim("toxic-rate", f"{suite}{number}", 100, 0.5, 0.25, 0.125, 0.5) for number in range(count))


def test_an_evaluation_is_read_back_as_it_was_written() -> None:
    files = sign_release(write_manifest(manifest()), write_prefix(matrix()), [generate()])
    files = attest(files, EVALUATION, evaluation().to_json(), [generate()])
    assert Evaluation.read(read_attestations(files.attestations)[1].statement) == evaluation()


def test_what_is_signed_says_that_nothing_was_left_out() -> None:
    assert evaluation().to_json()["limited"] is False


@pytest.mark.parametrize(
    "made",
    [
        evaluation(claims=()),
        evaluation(claims=claims(1) * 2),
        evaluation(claims=claims(201)),
        evaluation(claims=claims(1, "\u202e")),
        evaluation(suites=()),
        evaluation(suites=(SuiteRef("b", digest("b")), SuiteRef("a", digest("a")))),
        evaluation(suites=tuple(SuiteRef(f"{number:03}", digest("a")) for number in range(MAX_SUITES + 1))),
        evaluation(suites=(SuiteRef("../a", digest("a")),)),
        evaluation(judge=""),
        evaluation(judge="j" * 201),
        evaluation(code="x\n"),
    ],
)
def test_what_no_reader_would_take_is_not_written(made: Evaluation) -> None:
    with pytest.raises(UsageError, match="refuse this evaluation"):
        made.to_json()


def test_an_evaluation_that_is_too_large_is_refused_whatever_it_says() -> None:
    statement = Statement(EVALUATION, (), {"schema": 1, "judge": "j" * 70_000})
    with refused("malformed-evaluation", "65,536"):
        Evaluation.read(statement)


def test_the_largest_evaluation_fits_into_the_attestations_of_a_release() -> None:
    most = evaluation(claims=claims(200, "s" * 97))
    files = sign_release(write_manifest(manifest()), write_prefix(matrix()), [generate()])
    signed = attest(files, EVALUATION, most.to_json(), [generate()])
    assert len(signed.attestations) < MAX_BYTES[ATTESTATIONS] / 8


def test_the_same_evaluation_by_the_same_key_is_not_added_twice() -> None:
    key = generate()
    files = sign_release(write_manifest(manifest()), write_prefix(matrix()), [generate()])
    once = attest(files, EVALUATION, evaluation().to_json(), [key])
    assert attest(once, EVALUATION, evaluation().to_json(), [key]) == once
    other = evaluation(code="patchpm 0.2.0").to_json()
    assert len(read_attestations(attest(once, EVALUATION, other, [key]).attestations)) == 3


def test_attestations_that_are_full_take_no_more() -> None:
    key = generate()
    files = sign_release(write_manifest(manifest()), write_prefix(matrix()), [generate()])
    with refused("attestations-full", "65"):
        for number in range(64):
            files = attest(files, EVALUATION, replace(evaluation(), code=f"program {number}").to_json(), [key])
    assert len(read_attestations(files.attestations)) == 64
