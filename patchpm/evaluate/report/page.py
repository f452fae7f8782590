"""The page as a whole: head, chapters, style."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from patchpm.evaluate.measured import Run
from patchpm.evaluate.report.beside import beside_chapter
from patchpm.evaluate.report.front import front
from patchpm.evaluate.report.guide import guide
from patchpm.evaluate.report.heatmap import composition_chapter
from patchpm.evaluate.report.judgement import findings_of
from patchpm.evaluate.report.panels import panels
from patchpm.evaluate.report.quantity import Quantity, quantity_of
from patchpm.evaluate.report.samples import samples_chapter
from patchpm.evaluate.report.text import plain
from patchpm.evaluate.report.trade_off import STYLE
from patchpm.evaluate.results import Results

_PAGE_STYLE = Path(__file__).with_name("page.css")


def write_report(results: Results, others: Sequence[Run] = ()) -> str:
    """Draw results as one HTML page that loads nothing else; the same results always give the same page.

    The page has no script. Its content security policy allows one style sheet, by its digest, and nothing else, so that
    no reply of a model could do anything even if the escaping failed.

    Args:
        results: What the page is about.
        others: Prefixes to compare with, each under a name of its own.
    """
    quantities = _quantities(results)
    findings = findings_of(results, quantities)
    style = _PAGE_STYLE.read_text(encoding="utf-8") + STYLE
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en-GB"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{plain(results.title)}: patchpm evaluation report</title><style>{style}</style></head>\n<body><main>\n"
        f"{front(results, findings)}\n{panels(findings)}\n{beside_chapter([Run.of(results), *others])}\n"
        f"{composition_chapter(results.composition, quantities)}\n"
        f"{samples_chapter(results.exchanges, quantities)}\n{guide()}\n</main></body></html>\n"
    )


def _quantities(results: Results) -> dict[str, Quantity]:
    """Every metric of the page, in words."""
    metrics = [claim.metric for claim in results.claims] + [one.metric for one in results.exchanges]
    if results.composition is not None:
        metrics += results.composition.metrics
    return {metric: quantity_of(metric) for metric in dict.fromkeys(metrics)}
