"""The table of measured figures in the README, from the claims that are signed with the patches."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from generator.markdown import table
from patchpm.errors import UsageError
from patchpm.evaluate.metrics import POOLED
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.patch import strict_json, strict_toml
from patchpm.patch.manifest import Claim
from patchpm.patch.manifest_json import claims_from
from patchpm.patch.packing import CLAIMS, DESCRIPTION
from patchpm.patch.record import Record
from patchpm.patch.version import Version

_START = "<!-- claims: written by docs/make_reference.py -->\n"
_END = "<!-- end of claims -->"
_METRICS = (
    "average-max-toxicity",
    "toxic-rate",
    "stereotype-distance",
    "language-model-score",
    "refusal-rate",
    "over-refusal-rate",
    "perplexity",
    "choice-accuracy",
)
"""Those that a reader of the README should see, in this order."""
_SUITES = (*POOLED.values(), "wikitext", "piqa")
_MAX_BYTES = 256 * 1024


def newest(recipes: Path) -> list[Path]:
    """The folder of the newest release of each first-party patch, by name."""
    found = {path.parent.parent.name: path.parent for path in sorted(recipes.glob(f"*/*/{DESCRIPTION}"), key=_version)}
    return [found[name] for name in sorted(found)]


def with_claims(text: str, releases: Iterable[Path]) -> str:
    """The text of a page with the table in its place.

    Args:
        text: With the two marks that the table stands between.
        releases: Folders with `patch.toml` and `claims.json`.
    """
    before, start, rest = text.partition(_START)
    _, end, after = rest.partition(_END)
    if not start or not end:
        raise ValueError("the page has lost the marks that its table stands between")
    heading = ("patch", "measured on held-out data", "set", "n", "without", "with the patch", "95 % interval")
    rows = [row for release in releases for row in _rows(release)]
    return f"{before}{start}\n{table(heading, rows)}\n{end}{after}"


def _version(path: Path) -> Version:
    return Version.parse(path.parent.name)


def _rows(release: Path) -> list[tuple[str, ...]]:
    value = strict_json.loads((release / CLAIMS).read_bytes(), source=CLAIMS, max_bytes=_MAX_BYTES)
    claims = claims_from(Record({"claims": value}, CLAIMS, code="malformed-manifest"))
    text = (release / DESCRIPTION).read_text("utf-8")
    described = strict_toml.loads(text, source=DESCRIPTION, code="malformed-description", error=UsageError)
    name = f"`{described['name']}@{described['version']}`"
    shown = [claim for claim in claims if claim.metric in _METRICS and claim.suite in _SUITES]
    shown.sort(key=lambda claim: _METRICS.index(claim.metric))
    return [(name if number == 0 else "", *_row(claim)) for number, claim in enumerate(shown)]


def _row(claim: Claim) -> tuple[str, ...]:
    quantity = quantity_of(claim.metric)
    interval = quantity.interval(claim.low, claim.high)
    texts = (quantity.show(claim.before), quantity.show(claim.after), interval)
    return (
        quantity.label,
        claim.suite,
        f"{claim.n:,} {quantity.counted}",
        *(text.replace("\u202f", " ") for text in texts),
    )
