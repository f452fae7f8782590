"""What evaluators whom the policy names say of a release, and where they speak against its vendor."""

from __future__ import annotations

from typing import Final

from patchpm.cli.output import bold, columns, line, mark
from patchpm.evaluate.claim_check import CheckedClaim, contradictions, in_common
from patchpm.patch.manifest import Claim
from patchpm.patch.manifest_json import claim_to_json
from patchpm.patch.strict_json import JsonValue
from patchpm.trust.evaluation import Evaluation
from patchpm.trust.release import VerifiedRelease

ANCHOR: Final = "system-start"
"""Where the bench puts a prefix."""


def evaluations_to_json(release: VerifiedRelease) -> list[JsonValue]:
    """Every evaluation as data; one without known figures has its evaluator only."""
    return [
        {"by": item.by, **({} if item.evaluation is None else _described(release, item.evaluation))}
        for item in release.evaluations
    ]


def show_evaluations(release: VerifiedRelease, *, indent: str = "") -> None:
    """Print every evaluation with its figures, and what it contradicts."""
    for item in release.evaluations:
        if item.evaluation is None:
            line(f"{indent}{bold(f'evaluated by {item.by}')}: the statement has no figures that can be read")
            continue
        found = item.evaluation
        suites = ", ".join(suite.name for suite in found.suites)
        line(f"{indent}{bold(f'evaluated by {item.by}')} with {found.code} on {suites}; judge {found.judge}")
        columns(
            [
                (f"{indent}  {c.metric}", c.suite, f"{c.n:,}", _brief(c.before), _brief(c.after), interval(c))
                for c in found.claims
            ],
            (f"{indent}  metric", "held-out set", "n", "before", "after", "95 %"),
        )
        against = contradictions(release.manifest.claims, found.claims)
        both = in_common(release.manifest.claims, found.claims)
        line(f"{indent}{_outcome(item.by, against, both, len(release.manifest.claims))}")
        columns(
            (f"{indent}  {mark('fail')}", one.claim.metric, one.claim.suite, versus(one), one.finding.why)
            for one in against
        )


def interval(claim: Claim) -> str:
    """The 95 % interval of a claim."""
    return f"{_brief(claim.low)} to {_brief(claim.high)}"


def versus(checked: CheckedClaim) -> str:
    """Both figures of a claim that was measured again."""
    measured = checked.finding.measured
    now = "nothing" if measured is None else _brief(measured.after)
    return f"{_brief(checked.claim.after)} claimed, {now} measured"


def checked_to_json(checked: CheckedClaim) -> JsonValue:
    """A claim and what became of it as data."""
    measured = checked.finding.measured
    return {
        "claim": claim_to_json(checked.claim),
        "measured": None if measured is None else claim_to_json(measured),
        "verdict": checked.finding.word,
        "holds": checked.finding.holds,
        "why": checked.finding.why,
    }


def _described(release: VerifiedRelease, found: Evaluation) -> dict[str, JsonValue]:
    return {
        "code": found.code,
        "judge": found.judge,
        "suites": [{"name": suite.name, "sha256": str(suite.digest)} for suite in found.suites],
        "claims": [claim_to_json(claim) for claim in found.claims],
        "in_common": in_common(release.manifest.claims, found.claims),
        "contradicts": [checked_to_json(one) for one in contradictions(release.manifest.claims, found.claims)],
    }


def _outcome(who: str, against: tuple[CheckedClaim, ...], both: int, claims: int) -> str:
    if not both:
        return f"{who} measured none of the vendor's {claims} claims"
    if not against:
        return f"{who} measured {both} of the vendor's {claims} claims, and contradicts none"
    return f"{who} measured {both} of the vendor's {claims} claims, and contradicts {len(against)}:"


def _brief(value: float) -> str:
    return f"{value:.3g}"
