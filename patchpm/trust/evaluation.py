"""What an evaluator says of a release: the figures that they measured, on what, and how.

Whoever measures may use any program: the predicate names no format of ours but that of claims. A measurement on a part
of the rows only is no evaluation, so there is no value for one, and a predicate that admits to it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from patchpm.errors import IntegrityError, UsageError
from patchpm.patch import strict_json
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import Claim
from patchpm.patch.manifest_json import claim_to_json, claims_from
from patchpm.patch.record import Record
from patchpm.patch.release import ATTESTATIONS
from patchpm.patch.strict_json import JsonValue
from patchpm.trust.statement import EVALUATION, Statement

SCHEMA: Final = 1
MAX_BYTES: Final = 64 * 1024
"""Largest predicate, as compact JSON: so that some ten evaluations fit into one `attestations.jsonl`."""
MAX_SUITES: Final = 64
"""Most suites of one evaluation."""
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_PLACE: Final = f"{ATTESTATIONS}: the predicate of an evaluation"
_CODE: Final = "malformed-evaluation"


@dataclass(frozen=True, slots=True, order=True)
class SuiteRef:
    """A suite that was measured on."""

    name: str
    digest: Digest
    """Of the suite's file."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The predicate of an evaluation."""

    suites: tuple[SuiteRef, ...]
    """Sorted by name, each once; every row of them was measured."""
    judge: str
    """What judged texts, where a metric needs that."""
    base: Digest
    """`tensors` digest of the model that was measured on."""
    code: str
    """What measured it, with its version: `patchpm 0.1.0`."""
    claims: tuple[Claim, ...]
    """The figures, in the form of the vendor's own; one for each metric and set of rows."""

    @classmethod
    def read(cls, statement: Statement) -> Evaluation:
        """Read the predicate of a statement of type `EVALUATION`. Whose word it is must be known before.

        Raises:
            IntegrityError: `malformed-evaluation`, also for an evaluation of some of the rows only.
        """
        size = len(strict_json.compact(dict(statement.predicate)))
        record = Record(statement.predicate, _PLACE, code=_CODE)
        if size > MAX_BYTES:
            raise record.refuse(f"has {size:,} bytes; at most {MAX_BYTES:,} are allowed")
        record.integer("schema", low=SCHEMA, high=SCHEMA)
        evaluation = cls(
            suites=_suites(record),
            judge=record.text("judge", max_length=200),
            base=record.digest("base"),
            code=record.text("code", max_length=100),
            claims=_claims(record),
        )
        if record.flag("limited"):
            raise record.refuse("is true: figures of some of the rows are no evaluation", "limited")
        record.done()
        return evaluation

    def to_json(self) -> dict[str, JsonValue]:
        """The predicate as JSON.

        Raises:
            UsageError: `invalid-evaluation` where no reader would take it.
        """
        predicate: dict[str, JsonValue] = {
            "schema": SCHEMA,
            "suites": [{"name": suite.name, "sha256": str(suite.digest)} for suite in self.suites],
            "judge": self.judge,
            "base": str(self.base),
            "code": self.code,
            "limited": False,
            "claims": [claim_to_json(claim) for claim in self.claims],
        }
        try:
            again = Evaluation.read(Statement(EVALUATION, (), predicate))
        except IntegrityError as error:
            raise UsageError("invalid-evaluation", "every reader would refuse this evaluation", why=error.why) from None
        assert again == self  # the reader changes nothing
        return predicate


@dataclass(frozen=True, slots=True)
class SignedEvaluation:
    """An evaluation by someone whom the policy names."""

    by: str
    """The evaluator's name in the policy."""
    evaluation: Evaluation | None
    """None for a statement of the first version, whose figures have no known form."""


def _suites(record: Record) -> tuple[SuiteRef, ...]:
    found = tuple(_suite(item) for item in record.records("suites", max_items=MAX_SUITES))
    names = [suite.name for suite in found]
    if not found or names != sorted(set(names)):
        raise record.refuse("must name one or more suites, each once, sorted by name", "suites")
    return found


def _suite(record: Record) -> SuiteRef:
    suite = SuiteRef(record.text("name", pattern=_NAME), record.digest("sha256"))
    record.done()
    return suite


def _claims(record: Record) -> tuple[Claim, ...]:
    claims = claims_from(Record({"claims": record.raw("claims")}, record.place, code=_CODE))
    if not claims or len({(claim.metric, claim.suite) for claim in claims}) != len(claims):
        raise record.refuse("must hold one or more figures, one for each metric and set of rows", "claims")
    return claims
