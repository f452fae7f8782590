"""The documentation: every command in it works, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.givens import GIVENS, REAL_BASE, ROOT, Place, real_base
from tests.docs.page import Page
from tests.docs.shell import carry_out, matches

_TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
PAGES = {
    path.relative_to(ROOT).as_posix(): Page.read(path)
    for path in [*(ROOT / name for name in _TOP), *sorted((ROOT / "docs").rglob("*.md"))]
}
RUNNABLE = [name for name, page in PAGES.items() if page.steps() and not page.is_real]
REAL = [name for name, page in PAGES.items() if page.is_real]


def _carried_out(page: Page, place: Place) -> None:
    for given in page.givens:
        GIVENS[given](place)
    faults = carry_out(page.steps(), place.folder, place.home)
    assert not faults, "\n\n".join(faults)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "work", tmp_path / "home")
    made.folder.mkdir()
    (made.home / "patchpm").mkdir(parents=True)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNABLE)
def test_every_command_of_a_page_does_what_the_page_says(name: str, place: Place) -> None:
    _carried_out(PAGES[name], place)


@pytest.mark.real
@pytest.mark.skipif(not (REAL_BASE / "config.json").is_file(), reason="the base model is not converted yet: make demo")
@pytest.mark.parametrize("name", REAL)
def test_every_command_of_a_page_for_the_real_base_does_what_the_page_says(name: str, place: Place) -> None:
    real_base(place)
    _carried_out(PAGES[name], place)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_page_and_a_heading_that_exist(name: str) -> None:
    page = PAGES[name]
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", f"{link} is no https address"
            continue
        target = (page.path.parent / parts.path).resolve() if parts.path else page.path
        assert target.exists(), f"{link} leads nowhere"
        if parts.fragment:
            assert parts.fragment in Page.read(target).anchors, f"{link}: there is no such heading"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), ["README.md"]
    while waiting:
        name = waiting.pop()
        if name in PAGES and name not in reached:
            reached.add(name)
            found = (urlsplit(link) for link in PAGES[name].links)
            targets = (PAGES[name].path.parent / parts.path for parts in found if not parts.scheme and parts.path)
            waiting += [path.resolve().relative_to(ROOT).as_posix() for path in targets]
    assert reached == set(PAGES)


def test_no_page_names_a_place_on_the_machine_it_was_written_on() -> None:
    private = re.compile(r"/(?:home|root|Users|work)/|/tmp/")
    assert [name for name, page in PAGES.items() if private.search(page.text)] == []


def test_shown_output_may_leave_out_parts_of_lines_and_whole_lines() -> None:
    assert matches(["a ... c", "...", "end"], "a b c\nx\ny\nend\n")
    assert matches(["..."], "")
    assert not matches(["a", "end"], "a\nx\nend\n")
    assert not matches(["a.c"], "abc\n")


def test_a_command_that_ends_otherwise_than_the_page_says_is_a_fault(place: Place) -> None:
    text = "```console\n$ true\n$ echo one\ntwo\n$ exit_with() { return 3; }\n$ exit_with  # exit code 4\n```\n"
    faults = carry_out(Page(place.folder, text).steps(), place.folder, place.home)
    assert [fault.partition("\n")[0] for fault in faults] == ["line 3: echo one", "line 6: exit_with  # exit code 4"]
