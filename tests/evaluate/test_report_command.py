from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from patchpm.evaluate.claims import claims_file
from patchpm.evaluate.results import Results, write_results
from patchpm.patch.manifest import Claim
from tests.evaluate import report_builders as builders
from tests.evaluate.page_reader import Page
from tests.world import World

_DEARER = ("refusal-rate", "held-out-harmful", 320, 0.0219, 0.9688, 0.9433, 0.983)
"""Refuses more than the prefix of the builders."""


@pytest.fixture(name="measured")
def results(tmp_path: Path) -> str:
    """A file of results."""
    path = tmp_path / "results.json"
    path.write_bytes(write_results(builders.results()))
    return str(path)


def other(path: Path, *claims: Claim) -> str:
    """A file of claims."""
    path.write_bytes(claims_file(claims))
    return str(path)


def page(path: Path) -> Page:
    """The page that was drawn."""
    return Page(path.read_text(encoding="utf-8"))


def test_a_page_is_drawn_from_kept_results_without_measuring_again(tmp_path: Path, world: World, measured: str) -> None:
    ran = world.ok("report", measured, "--out", str(tmp_path / "page.html"), "--title", "acme/harmless 2.0.0", "--json")
    assert ran.json == {"report": str(tmp_path / "page.html"), "title": "acme/harmless 2.0.0", "beside": []}
    drawn = page(tmp_path / "page.html")
    assert "acme/harmless 2.0.0" in drawn.text
    assert "Beside others" not in drawn.text


def test_prefixes_measured_on_the_same_rows_stand_beside_each_other(
    tmp_path: Path, world: World, measured: str
) -> None:
    over = Claim("over-refusal-rate", "held-out-benign", 300, 0.0033, 0.11, 0.08, 0.15)
    claims = other(tmp_path / "claims.json", Claim(*_DEARER), over)
    again = tmp_path / "seed-2.json"
    again.write_bytes(write_results(replace(builders.results(), title="not shown")))
    beside = ("--beside", f"last year={claims}", "--beside", f"seed 2={again}")
    world.ok("report", measured, "--out", str(tmp_path / "page.html"), *beside)
    text = page(tmp_path / "page.html").text
    assert "Refusal rate against over-refusal rate" in text
    assert "last year96.9 % (94.3 to 98.3 %)11.0 % (8.0 to 15.0 %)" in text
    assert "seed 293.8 % (90.5 to 95.9 %)8.3 % (5.7 to 12.0 %)" in text
    assert "not shown" not in text


def test_figures_of_other_rows_are_not_compared(tmp_path: Path, world: World, measured: str) -> None:
    fewer = other(
        tmp_path / "claims.json",
        Claim(*_DEARER),
        Claim("over-refusal-rate", "held-out-benign", 120, 0.0033, 0.0, 0.0, 0.03),
    )
    world.ok("report", measured, "--out", str(tmp_path / "page.html"), "--beside", f"fewer={fewer}")
    text = page(tmp_path / "page.html").text
    assert "None of the others was measured on the same rows." in text
    assert "fewer" not in text


def test_names_of_others_stay_text(tmp_path: Path, world: World) -> None:
    claims, changes = builders.figures(("refusal-rate", "over-refusal-rate"))
    path = tmp_path / "results.json"
    path.write_bytes(write_results(Results(title="one", base="b", claims=claims, changes=changes)))
    hostile = '"><script>alert(1)</script></desc></svg>'
    world.ok("report", str(path), "--out", str(tmp_path / "page.html"), "--beside", f"{hostile}={path}")
    drawn = page(tmp_path / "page.html")
    assert drawn.all("script") == []
    assert hostile in "".join(drawn.words)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"[]}", "malformed-json"), (b'[{"metric": "x"}]', "malformed-claims"), (b'{"format": "y"}', "malformed-results")],
)
def test_a_file_that_is_neither_results_nor_claims_is_named(
    tmp_path: Path, world: World, measured: str, content: bytes, code: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(content)
    page_path = tmp_path / "page.html"
    refused = world.run("report", measured, "--out", str(page_path), "--beside", f"bad={bad}", "--json")
    assert refused.error["code"] == code
    assert "bad.json" in refused.err
    assert not page_path.exists()


@pytest.mark.parametrize(
    ("beside", "code"),
    [
        (("nameless",), "usage"),
        (("=x",), "usage"),
        (("one={}", "one={}"), "usage"),
        (("gone=none.json",), "unreadable-file"),
    ],
)
def test_what_stands_beside_needs_a_file_and_a_name_of_its_own(
    tmp_path: Path, world: World, measured: str, beside: tuple[str, ...], code: str
) -> None:
    words = [word for one in beside for word in ("--beside", one.format(measured))]
    assert world.run("report", measured, "--out", str(tmp_path / "page.html"), *words, "--json").error["code"] == code
