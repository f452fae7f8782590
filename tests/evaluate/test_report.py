from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import pytest

from patchpm.evaluate.report import write_report
from patchpm.evaluate.report.judgement import Finding, Verdict
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.evaluate.report.samples import SAMPLES, every_kth
from patchpm.evaluate.results import Cell, Change, Composition, Exchange, Member, Results, read_results, write_results
from patchpm.patch.manifest import Claim
from tests.evaluate import report_builders as builders
from tests.evaluate.page_reader import Page

_PLAIN = Results(title="example/nothing 1.0.0", base="Example-135M")


def _page(results: Results) -> Page:
    return Page(write_report(results))


def test_a_full_report_is_well_formed() -> None:
    page = _page(builders.results())
    assert [tag for tag, _ in page.elements[:2]] == ["html", "head"]


def test_the_same_results_give_the_same_bytes() -> None:
    results = builders.results()
    assert write_report(results) == write_report(read_results(write_results(results)))


@pytest.mark.parametrize("field", ["prompt", "before", "after"])
def test_what_models_and_attackers_wrote_stays_text(field: str) -> None:
    hostile = "</div></details></script><img src=x onerror=alert(1)>&lt;b&gt;\"'`"
    page = _page(replace(_PLAIN, exchanges=(builders.exchange(texts={field: hostile}),)))
    assert hostile in "".join(page.words)
    assert page.all("img") == page.all("script") == []


def test_names_stay_text_in_every_place() -> None:
    hostile = "\"><img src=x onerror='alert(1)'></title></style><script>"
    results = Results(
        title=hostile,
        base=hostile,
        claims=(Claim("refusal-rate", hostile, 3, 0.1, 0.5, 0.2, 0.8), Claim(hostile, hostile, 3, 0.1, 0.5, 0.2, 0.8)),
        exchanges=(builders.exchange(metric=hostile, suite=hostile),),
        composition=Composition(
            patches=(Member(hostile, hostile, hostile), Member("b", "x-b", "refusal-rate")),
            metrics=(hostile, "refusal-rate"),
            cells=(
                Cell((), hostile, 0.1, 0.0, 0.2, 9, "", None),
                Cell((hostile,), hostile, 0.5, 0.4, 0.6, 9, hostile, 1.0),
                Cell((hostile, "b"), hostile, 0.3, 0.2, 0.4, 9, hostile, 0.5),
                Cell((hostile, "b"), "refusal-rate", 0.3, 0.2, 0.4, 9, "b", None),
            ),
        ),
    )
    page = _page(results)
    assert page.all("img") == page.all("script") == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


@pytest.mark.parametrize(
    ("unseen", "shown"),
    [("\u202e", "U+202E"), ("\x1b", "U+001B"), ("\u200b", "U+200B"), ("\x00", "U+0000"), ("\ud800", "U+D800"),
     ("\U000e0041", "U+E0041"), ("\u3164", "U+3164"), ("\r", "U+000D"), ("\u2028", "U+2028"), ("\x85", "U+0085")],
)  # fmt: skip
def test_characters_that_would_not_be_seen_are_shown(unseen: str, shown: str) -> None:
    text = f"before{unseen}after"
    page = write_report(replace(_PLAIN, title=text, exchanges=(builders.exchange(texts={"after": text}),)))
    assert page.count(f"⟨{shown}⟩") == 3 + (unseen == "\u202e")
    assert unseen not in page
    page.encode()


def test_a_reply_keeps_its_lines_and_an_endless_one_is_cut() -> None:
    page = write_report(
        replace(_PLAIN, exchanges=(builders.exchange(texts={"before": "one\n\ttwo", "after": "x" * 100_000}),))
    )
    assert "one\n\ttwo" in page
    assert len(page) < 60_000
    assert "and 98,000 more characters" in page


def test_the_page_asks_for_nothing_from_outside() -> None:
    text = write_report(builders.results())
    assert not re.search(r"https?:|//|url\(|@import|javascript:|data:", text.replace("<!DOCTYPE html>", ""))
    names = {name for _, attributes in Page(text).elements for name in attributes}
    assert not names & {"src", "href", "srcset", "style", "action", "xlink:href", "ping"}


def test_the_policy_allows_the_style_sheet_and_nothing_else() -> None:
    text = write_report(builders.results())
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert Page(text).all("meta")[1] == {"http-equiv": "Content-Security-Policy", "content": policy}


def test_every_claim_stands_there_with_its_figures_and_intervals() -> None:
    results = builders.results()
    text = _page(results).text
    for claim, change in zip(results.claims, results.changes, strict=True):
        quantity = quantity_of(claim.metric)
        row = (
            f"{claim.suite} n = {claim.n:,} {quantity.counted}",
            f"{quantity.show(claim.before)} → {quantity.show(claim.after)}",
            quantity.interval(claim.low, claim.high),
            quantity.change(change.value),
            quantity.change_interval(change.low, change.high),
        )
        assert all(part.replace("\u202f", " ") in text for part in row), claim


def test_units_share_no_axis() -> None:
    page = write_report(builders.results())
    metrics = {claim.metric for claim in builders.results().claims}
    assert page.count('class="chart"') == len(metrics)
    assert all(f"<h4>{quantity_of(metric).label}</h4>" in page for metric in metrics)


def test_harms_come_before_side_effects() -> None:
    claims, changes = builders.figures()
    page = write_report(replace(_PLAIN, claims=claims[::-1], changes=changes[::-1]))
    assert re.findall(r"<h3 class=.domain.>(.*?)</h3>", page) == ["Harmfulness", "Toxicity", "Side effects"]
    panels = re.findall(r"<h4>(.*?)</h4>", page)
    assert panels[:4] == ["Refusal rate", "Refusal log-odds", "Average max toxicity", "Over-refusal rate"]


def test_every_chart_has_a_title_and_a_description() -> None:
    page = write_report(builders.results())
    drawn = re.findall(r'<svg [^>]*role="img"[^>]*>(.{0,400})', page, re.DOTALL)
    assert len(drawn) == len(builders.results().claims) + 3
    assert all(re.match(r"<title>[^<]+</title><desc>[^<]+</desc>", start) for start in drawn)
    unnamed = [one for one in Page(page).all("svg") if one.get("class") != "cap" and "role" not in one]
    assert all(one.get("aria-hidden") == "true" for one in unnamed)


def test_a_pooled_claim_is_known_whoever_judged() -> None:
    claim = Claim("average-max-toxicity", "held-out-toxic by other", 350, 0.6, 0.2, 0.1, 0.3)
    assert Finding(claim, quantity_of(claim.metric), None).pooled
    assert not Finding(replace(claim, suite="toxic-web-texts"), quantity_of(claim.metric), None).pooled


def test_nothing_measured_is_a_page_that_says_so() -> None:
    text = _page(_PLAIN).text
    assert "Nothing was measured." in text
    assert "Interference map" not in text
    assert "Sample replies" not in text
    assert "never that it is harmless" in text


def test_the_key_figures_are_at_most_five_and_lead_with_what_the_patch_is_for() -> None:
    page = write_report(builders.results())
    cards = re.findall(r'<article class="card"><h2>(.*?)</h2>', page)
    assert cards[0] == "Refusal rate"
    assert "Over-refusal rate" in cards
    assert cards[-1].startswith("Least effect left of ")
    assert len(cards) == 5


def test_a_metric_of_a_later_version_is_shown_but_not_judged() -> None:
    claims = (Claim("x-later", "somewhere", 10, 1.0, 9.0, 8.0, 9.5),)
    page = write_report(replace(_PLAIN, claims=claims))
    assert "8.000 to 9.500" in page
    assert set(re.findall(r'class="verdict (\w+)"', page)) == {"calm"}
    assert "A metric that this version does not know" in page


@pytest.mark.parametrize(
    ("metric", "before", "after", "change", "verdict"),
    [
        ("refusal-rate", 0.1, 0.5, (0.3, 0.5), Verdict.BETTER),
        ("over-refusal-rate", 0.1, 0.5, (0.3, 0.5), Verdict.WORSE),
        ("over-refusal-rate", 0.1, 0.12, (-0.01, 0.05), Verdict.UNCLEAR),
        ("over-refusal-rate", 0.1, 0.1, (0.0, 0.0), Verdict.UNCLEAR),
        ("reply-length", 30.0, 20.0, (-12.0, -8.0), Verdict.CHANGED),
        ("stereotype-score", 62.0, 55.0, (-9.0, -5.0), Verdict.BETTER),
        ("stereotype-score", 45.0, 40.0, (-6.0, -4.0), Verdict.WORSE),
        ("stereotype-score", 55.0, 44.0, (-13.0, -9.0), Verdict.CHANGED),
        ("refusal-rate", 0.1, 0.5, None, Verdict.BETTER),
        ("refusal-rate", 0.1, 0.2, None, Verdict.UNCLEAR),
    ],
)
def test_a_change_is_judged_by_its_interval(
    metric: str, before: float, after: float, change: tuple[float, float] | None, verdict: Verdict
) -> None:
    claim = Claim(metric, "s", 100, before, after, after - 0.15, after + 0.15)
    paired = None if change is None else Change(metric, "s", after - before, *change)
    assert Finding(claim, quantity_of(metric), paired).verdict is verdict


def test_samples_are_chosen_by_place_alone() -> None:
    rows = [builders.exchange(number) for number in range(100)]
    step, chosen = every_kth(rows)
    assert [rows.index(one) for one in chosen] == list(range(0, 100, step))
    assert len(chosen) <= SAMPLES
    assert every_kth(rows[:3])[1] == rows[:3]
    text = _page(replace(_PLAIN, exchanges=tuple(rows))).text
    assert f"{len(chosen)} of 100 rows, every {step}th" in text


def test_harmful_sets_are_folded_and_marked() -> None:
    harmful, harmless = builders.exchange(), builders.exchange(metric=builders.GUARDED, suite="contrast")
    page = _page(replace(_PLAIN, exchanges=(harmless, harmful)))
    assert page.all("details") == [{}, {}]
    assert page.text.count("harmful content") == 1
    assert page.text.index("strongreject") < page.text.index("contrast")


def test_a_score_says_what_it_means() -> None:
    toxic = Exchange("held-out-toxic", "average-max-toxicity", "p", "b", "a", 0.91, 0.125)
    text = _page(replace(_PLAIN, exchanges=(builders.exchange(), toxic))).text
    assert "without the patch not refused" in text
    assert "with the patch refused" in text
    assert "scored 0.91" in text
