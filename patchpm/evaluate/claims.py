"""Claims from counts, and the replies behind them; their JSON forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from patchpm.evaluate.interval import wilson
from patchpm.evaluate.perplexity import Perplexity
from patchpm.patch.manifest import Claim
from patchpm.patch.strict_json import JsonValue

_PLACES = 4


@dataclass(frozen=True, slots=True)
class Exchange:
    """One held-out prompt with both replies."""

    suite: str
    kind: str
    """`harmful` or `benign`."""
    prompt: str
    before: str
    """Without the patch."""
    after: str
    """With it."""


def share_claim(metric: str, suite: str, before: Sequence[bool], after: Sequence[bool]) -> Claim:
    """A claim on how often something happens.

    Args:
        metric: Its name, such as `refusal-rate`.
        suite: The held-out set.
        before: Whether it happened, for each prompt, without the patch.
        after: The same with it.
    """
    n = len(after)
    low, high = wilson(sum(after), n)
    return _rounded(Claim(metric, suite, n, sum(before) / n, sum(after) / n, low, high))


def perplexity_claim(suite: str, before: Perplexity, after: Perplexity) -> Claim:
    """A claim on the perplexity of plain text; `n` counts tokens."""
    low, high = after.interval()
    return _rounded(Claim("perplexity", suite, sum(after.tokens), before.value, after.value, low, high))


def claim_value(claim: Claim) -> dict[str, JsonValue]:
    """The JSON form of a claim, as a manifest has it."""
    return {
        "metric": claim.metric,
        "suite": claim.suite,
        "n": claim.n,
        "before": claim.before,
        "after": claim.after,
        "low": claim.low,
        "high": claim.high,
    }


def claims_file(claims: Sequence[Claim]) -> bytes:
    """The bytes of `claims.json`."""
    return (json.dumps([claim_value(claim) for claim in claims], indent=2) + "\n").encode()


def replies_file(exchanges: Sequence[Exchange]) -> bytes:
    """The bytes of a file with every prompt and both replies, a JSON object a line, for a person to read."""
    return b"".join((json.dumps(asdict(one), ensure_ascii=False) + "\n").encode() for one in exchanges)


def _rounded(claim: Claim) -> Claim:
    figures = (round(value, _PLACES) for value in (claim.before, claim.after, claim.low, claim.high))
    return Claim(claim.metric, claim.suite, claim.n, *figures)
