"""The table of measured figures in the README, from the claims that are signed with the patch."""

from __future__ import annotations

from pathlib import Path

from generator.markdown import table
from patchpm.patch import strict_json
from patchpm.patch.manifest import Claim
from patchpm.patch.manifest_json import claims_from
from patchpm.patch.record import Record

_START = "<!-- claims: written by docs/make_reference.py -->\n"
_END = "<!-- end of claims -->"
_ALL_SETS = "held-out-"
"""Start of the name of a claim over all sets of a kind."""
_FEWEST = 80
"""A set with fewer prompts says too little by itself."""
_METRICS = {
    "refusal-rate": "harmful prompts refused",
    "over-refusal-rate": "harmless prompts refused",
    "perplexity": "perplexity of plain text",
}
_MAX_BYTES = 256 * 1024


def with_claims(text: str, path: Path) -> str:
    """The text of a page with the table in its place.

    Args:
        text: With the two marks that the table stands between.
        path: `claims.json` of the patch.
    """
    before, start, rest = text.partition(_START)
    _, end, after = rest.partition(_END)
    if not start or not end:
        raise ValueError("the page has lost the marks that its table stands between")
    return f"{before}{start}\n{_table(path)}\n{end}{after}"


def _table(path: Path) -> str:
    value = strict_json.loads(path.read_bytes(), source=path.name, max_bytes=_MAX_BYTES)
    claims = claims_from(Record({"claims": value}, path.name, code="malformed-manifest"))
    heading = ("measured on held-out data", "set", "n", "without", "with the patch", "95 % interval")
    return table(heading, (_row(claim) for claim in claims if claim.n >= _FEWEST))


def _row(claim: Claim) -> tuple[str, ...]:
    what = _METRICS.get(claim.metric, claim.metric)
    suite = "all" if claim.suite.startswith(_ALL_SETS) else claim.suite
    count = f"{claim.n:,} tokens" if claim.metric == "perplexity" else f"{claim.n:,}"
    before, after, low, high = (_figure(claim, value) for value in (claim.before, claim.after, claim.low, claim.high))
    return what, suite, count, before, after, f"{low} to {high}"


def _figure(claim: Claim, value: float) -> str:
    return f"{value:.1f}" if claim.metric == "perplexity" else f"{100 * value:.1f} %"
