from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from patchpm.evaluate.claims import claims_file
from patchpm.evaluate.results import Results, write_results
from tests.evaluate import report_builders as builders
from tests.evaluate.page_reader import Page
from tests.world import World

PAIR = ("refusal-rate", "over-refusal-rate")
"""What a harmfulness patch is for, and what it costs."""


@pytest.fixture(name="measured")
def results(tmp_path: Path) -> str:
    """A file of results."""
    path = tmp_path / "results.json"
    path.write_bytes(write_results(builders.results()))
    return str(path)


def claims_of(path: Path, **changed: object) -> str:
    """A file of claims on the rows of the results, in which every claim is changed in the same way."""
    path.write_bytes(claims_file([replace(claim, **changed) for claim in builders.figures(PAIR)[0]]))  # type: ignore[arg-type]
    return str(path)


def page(path: Path) -> Page:
    """The page that was drawn."""
    return Page(path.read_text(encoding="utf-8"))


def test_a_page_is_drawn_from_kept_results_without_measuring_again(tmp_path: Path, world: World, measured: str) -> None:
    ran = world.ok("report", measured, "--out", str(tmp_path / "page.html"), "--title", "acme/harmless 2.0.0", "--json")
    assert ran.json == {
        "report": str(tmp_path / "page.html"),
        "title": "acme/harmless 2.0.0",
        "beside": [],
        "left_out": [],
    }
    drawn = page(tmp_path / "page.html")
    assert "acme/harmless 2.0.0" in drawn.text
    assert "Beside others" not in drawn.text


def test_prefixes_measured_on_the_same_rows_stand_beside_each_other(
    tmp_path: Path, world: World, measured: str
) -> None:
    claims = claims_of(tmp_path / "claims.json", after=0.1234, low=0.08, high=0.15)
    again = tmp_path / "seed-2.json"
    again.write_bytes(write_results(replace(builders.results(), title="not shown")))
    beside = ("--beside", f"last year={claims}", "--beside", f"seed 2={again}")
    ran = world.ok("report", measured, "--out", str(tmp_path / "page.html"), *beside, "--json")
    assert (ran.json["beside"], ran.json["left_out"], ran.err) == (["last year", "seed 2"], [], "")
    text = page(tmp_path / "page.html").text
    assert "Refusal rate against over-refusal rate" in text
    assert "last year12.3 % (8.0 to 15.0 %)12.3 % (8.0 to 15.0 %)" in text
    assert "seed 293.8 % (90.5 to 95.9 %)8.3 % (5.7 to 12.0 %)" in text
    assert "not shown" not in text


@pytest.mark.parametrize("changed", [{"n": 17}, {"suite": "of-my-own"}, {"before": 0.3}], ids=["n", "suite", "before"])
def test_figures_of_other_rows_are_left_out_and_told(
    tmp_path: Path, world: World, measured: str, changed: dict[str, object]
) -> None:
    claims = claims_of(tmp_path / "claims.json", **changed)
    ran = world.ok("report", measured, "--out", str(tmp_path / "page.html"), "--beside", f"fewer={claims}", "--json")
    assert (ran.json["beside"], ran.json["left_out"]) == ([], ["fewer"])
    assert "fewer was measured on other rows, and is not drawn" in ran.err
    text = page(tmp_path / "page.html").text
    assert "Measured on other rows, and so not drawn: fewer." in text
    assert "Refusal rate against over-refusal rate" not in text


def test_figures_of_another_base_are_left_out(tmp_path: Path, world: World, measured: str) -> None:
    other = tmp_path / "other.json"
    other.write_bytes(write_results(replace(builders.results(), base="Other-7B")))
    ran = world.ok("report", measured, "--out", str(tmp_path / "page.html"), "--beside", f"other={other}", "--json")
    assert ran.json["left_out"] == ["other"]


def test_names_of_others_stay_text_and_inside_the_picture(tmp_path: Path, world: World) -> None:
    claims, changes = builders.figures(PAIR)
    path = tmp_path / "results.json"
    path.write_bytes(write_results(Results(title="one", base="b", claims=claims, changes=changes)))
    hostile = f'"><script>alert(1)</script></desc></svg>{40 * "x"}'
    world.ok("report", str(path), "--out", str(tmp_path / "page.html"), "--beside", f"{hostile}={path}")
    drawn = page(tmp_path / "page.html")
    assert drawn.all("script") == []
    assert hostile in "".join(drawn.words)
    assert f"{hostile[:31]}…" in "".join(drawn.words)


@pytest.mark.parametrize(
    "figures", [(0.3, -1.7e308, 1.7e308), (0.0, 0.0, 5e-324), (0.3, 0.3, 0.30000000000000004), (5e-324, 0.0, 1e300)]
)
def test_figures_of_any_size_are_drawn(
    tmp_path: Path, world: World, measured: str, figures: tuple[float, float, float]
) -> None:
    after, low, high = figures
    wild = claims_of(tmp_path / "claims.json", after=after, low=low, high=high)
    world.ok("report", measured, "--out", str(tmp_path / "page.html"), "--beside", f"wild={wild}")
    assert "wild" in page(tmp_path / "page.html").text


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


def test_claims_alone_are_no_results(tmp_path: Path, world: World) -> None:
    claims = claims_of(tmp_path / "claims.json")
    refused = world.run("report", claims, "--out", str(tmp_path / "page.html"), "--json")
    assert (refused.code, refused.error["code"]) == (2, "no-results")
    assert "--results" in refused.error["next"]


@pytest.mark.parametrize(
    ("beside", "what"),
    [
        (("nameless",), "--beside 'nameless' is not NAME=FILE"),
        ((" ={}",), "is not NAME=FILE"),
        (("one={}", "one={}"), "two of the prefixes have the same name"),
        (("example/harmfulness 1.0.0 (invented figures)={}",), "two of the prefixes have the same name"),
        (("gone=none.json",), "none.json cannot be read"),
    ],
)
def test_what_stands_beside_needs_a_file_and_a_name_of_its_own(
    tmp_path: Path, world: World, measured: str, beside: tuple[str, ...], what: str
) -> None:
    words = [word for one in beside for word in ("--beside", one.format(measured))]
    refused = world.run("report", measured, "--out", str(tmp_path / "page.html"), *words, "--json")
    assert what in refused.error["what"]
    assert not (tmp_path / "page.html").exists()


def test_what_was_measured_is_not_written_over(world: World, measured: str) -> None:
    before = Path(measured).read_bytes()
    refused = world.run("report", measured, "--out", measured, "--json")
    assert (refused.code, refused.error["what"]) == (2, f"--out is {measured}, which is read")
    assert Path(measured).read_bytes() == before
