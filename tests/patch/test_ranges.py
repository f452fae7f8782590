from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpm.errors import UsageError
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from tests.patch import npm_oracle

_GOLDEN = json.loads(npm_oracle.VECTORS.read_text("utf-8"))
_NUMBERS = st.sampled_from(["0", "1", "2", "3", "10"])
_PRERELEASES = st.sampled_from(
    ["", "", "", "-0", "-1", "-10", "-alpha", "-alpha.1", "-rc.1", "-rc.2", "-rc-1", "-x", "-A.0b"]
)
_BUILDS = st.sampled_from(["", "", "", "+b", "+001"])
_FULL = st.builds(
    lambda a, b, c, pre, build: f"{a}.{b}.{c}{pre}{build}", _NUMBERS, _NUMBERS, _NUMBERS, _PRERELEASES, _BUILDS
)
_X = st.sampled_from(["x", "X", "*"])
_PARTIAL = st.one_of(
    _FULL,
    _X,
    _NUMBERS,
    st.builds(lambda a, b: f"{a}.{b}", _NUMBERS, st.one_of(_NUMBERS, _X)),
    st.builds(lambda a, b, x: f"{a}.{b}.{x}", _NUMBERS, st.one_of(_NUMBERS), _X),
    st.builds(lambda a, x, y: f"{a}.{x}.{y}", _NUMBERS, _X, _X),
)
_OPERATORS = st.sampled_from(["", "", "=", "^", "~", "~>", "<", "<=", ">", ">=", ">= ", "^ ", "< ", "~ ", "v", ">=v"])
_CONJUNCTION = st.lists(st.builds(lambda op, version: op + version, _OPERATORS, _PARTIAL), min_size=1, max_size=3).map(
    " ".join
)
_HYPHEN = st.builds(lambda low, high: f"{low} - {high}", _PARTIAL, _PARTIAL)
_RANGES = st.lists(st.one_of(_CONJUNCTION, _CONJUNCTION, _HYPHEN), min_size=1, max_size=3).map(" || ".join)


@pytest.fixture(scope="module")
def oracle() -> Iterator[npm_oracle.Npm]:
    reason = npm_oracle.missing()
    if reason is not None:
        pytest.skip(reason)
    with npm_oracle.npm() as found:
        yield found


@pytest.mark.parametrize("text", _GOLDEN["ranges"])
def test_a_range_contains_what_npm_says_it_contains(text: str) -> None:
    wanted = Range.parse(text)
    plain, wide = _GOLDEN["ranges"][text]
    versions = [Version.parse(version) for version in _GOLDEN["versions"]]
    assert "".join("01"[wanted.contains(version)] for version in versions) == plain
    assert "".join("01"[wanted.contains(version, prereleases=True)] for version in versions) == wide


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(pairs=st.lists(st.tuples(_RANGES, st.lists(_FULL, min_size=1, max_size=8)), min_size=1, max_size=8))
def test_npm_agrees_on_ranges_nobody_thought_of(oracle: npm_oracle.Npm, pairs: list[tuple[str, list[str]]]) -> None:
    questions: list[npm_oracle.Question] = [
        (text, version, wide) for text, versions in pairs for version in versions for wide in (False, True)
    ]
    ours = [
        Range.parse(text).contains(Version.parse(str(version)), prereleases=wide) for text, version, wide in questions
    ]
    for question, answer, npm in zip(questions, ours, oracle.ask(questions), strict=True):
        assert answer == npm, question


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.text("0123.xX*^~<>=|- ,vrc+", max_size=12), min_size=1, max_size=20))
def test_whatever_is_accepted_is_valid_for_npm_with_spaces_for_commas(oracle: npm_oracle.Npm, texts: list[str]) -> None:
    accepted = [text for text in texts if _accepts(text)]
    answers = oracle.ask([(text.replace(",", " "), None, False) for text in accepted])
    assert dict(zip(accepted, answers, strict=True)) == dict.fromkeys(accepted, True)


@given(text=_RANGES, versions=st.lists(_FULL, max_size=8))
def test_the_canonical_text_reads_back_as_the_same_range(text: str, versions: list[str]) -> None:
    wanted = Range.parse(text)
    again = Range.parse(str(wanted))
    assert (again, str(again)) == (wanted, str(wanted))
    for version in map(Version.parse, versions):
        assert again.contains(version) == wanted.contains(version)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (" >= 1.2 ,<2 ", ">=1.2 <2"),
        (">=1.2   <2||3.X", ">=1.2 <2 || 3.x"),
        ("v1.2.3+build", "1.2.3"),
        ("~> 1.2", "~1.2"),
        ("x", "*"),
        ("1.2.3   -   v1.4", "1.2.3 - 1.4"),
    ],
)
def test_the_canonical_text_forgets_white_space_commas_and_builds(written: str, canonical: str) -> None:
    assert str(Range.parse(written)) == canonical
    assert Range.parse(written) == Range.parse(canonical)
    assert hash(Range.parse(written)) == hash(Range.parse(canonical))


@pytest.mark.parametrize(
    ("text", "inside", "outside"), [("1.2", "1.2.9", "1.3.0"), ("1", "1.9.0", "2.0.0"), ("1.2.3", "1.2.3", "1.2.4")]
)
def test_a_bare_version_means_as_much_as_it_says(text: str, inside: str, outside: str) -> None:
    assert Range.parse(text).contains(Version.parse(inside))
    assert not Range.parse(text).contains(Version.parse(outside))


def test_a_prerelease_is_contained_only_where_the_range_names_one_of_the_same_numbers() -> None:
    candidate = Version.parse("1.3.0-rc.1")
    assert not Range.parse("^1.2").contains(candidate)
    assert not Range.parse(">=1.2.0-rc.0").contains(candidate)
    assert Range.parse(">=1.3.0-rc.0").contains(candidate)
    assert Range.parse("^1.2").contains(candidate, prereleases=True)
    assert not Range.parse("<1.3").contains(candidate, prereleases=True)


_SMALL = st.sampled_from(
    ["0", "1", "2", "1.0", "1.2", "0.1", "1.2.1", "1.2.2", "0.0.1", "2.0.0", "1.2.2-rc.1", "1.2.1-0"]
)
_SIMPLE = st.builds("{}{}".format, st.sampled_from(["", "^", "~", ">", "<", ">=", "<="]), _SMALL)
_FEW = st.lists(st.lists(_SIMPLE, min_size=1, max_size=2).map(" ".join), min_size=1, max_size=2).map(" || ".join)


@given(_FEW, _FEW)
def test_two_ranges_overlap_when_there_could_be_a_version_in_both(one: str, other: str) -> None:
    left, right = Range.parse(one), Range.parse(other)
    grid = [Version.parse(f"{a}.{b}.{c}") for a in range(4) for b in range(4) for c in range(4)]
    assert left.overlaps(right) == any(left.contains(version) and right.contains(version) for version in grid)


def test_ranges_that_meet_between_two_bounds_overlap() -> None:
    assert Range.parse(">1.2.3").overlaps(Range.parse("<1.2.5"))
    assert not Range.parse(">1.2.3").overlaps(Range.parse("<1.2.4"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing between"),
        ("1 ||", "nothing between"),
        ("1,,2", "nothing between"),
        (",1", "nothing between"),
        ("1..2", "not understood"),
        (">==1", "not understood"),
        ("latest", "not understood"),
        ("1.2.3.4", "not understood"),
        ("01.2", "not understood"),
        ("1.2\n", "not understood"),
        ("\u0661.2", "not understood"),
        ("1 - 2 - 3", "not understood"),
        ("1.x.3", "after an x"),
        ("1.2-rc", "incomplete version"),
        ("1.2.3-01", "not a version"),
        ("1.2.3-a..b", "not understood"),
        ("1" * 16, "not understood"),
        (">=1 " * 100, "400 characters"),
    ],
)
def test_a_malformed_range_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        Range.parse(text)
    assert caught.value.code == "invalid-range"
    assert reason in caught.value.why


def _accepts(text: str) -> bool:
    try:
        Range.parse(text)
    except UsageError:
        return False
    return True
