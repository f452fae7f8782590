from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semver import Version as SemVer

from patchpm.errors import UsageError
from patchpm.patch.version import Version

_NUMBERS = st.integers(0, 12)
_IDENTIFIERS = st.one_of(
    st.integers(0, 12).map(str), st.from_regex(r"[0-9]{0,2}[A-Za-z-][0-9A-Za-z-]{0,2}", fullmatch=True)
)
_SUFFIXES = st.lists(_IDENTIFIERS, min_size=1, max_size=3).map(".".join)
_TEXTS = st.builds(
    lambda a, b, c, pre, build: f"{a}.{b}.{c}" + (f"-{pre}" if pre else "") + (f"+{build}" if build else ""),
    _NUMBERS,
    _NUMBERS,
    _NUMBERS,
    st.one_of(st.just(""), _SUFFIXES),
    st.one_of(st.just(""), _SUFFIXES),
)
_FROM_THE_SPECIFICATION = [
    "0.0.4",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "2.0.0",
    "2.1.0",
    "2.1.1",
]


def test_versions_sort_as_the_specification_lists_them() -> None:
    shuffled = list(map(Version.parse, _FROM_THE_SPECIFICATION))
    random.Random(0).shuffle(shuffled)
    assert [str(version) for version in sorted(shuffled)] == _FROM_THE_SPECIFICATION


@given(_TEXTS, _TEXTS)
def test_precedence_agrees_with_the_semver_library(left: str, right: str) -> None:
    ours, theirs = (Version.parse(left), Version.parse(right)), SemVer.parse(left).compare(right)
    assert (ours[0].precedence > ours[1].precedence) - (ours[0].precedence < ours[1].precedence) == theirs


@given(_TEXTS)
def test_a_version_is_written_as_it_was_read(text: str) -> None:
    version = Version.parse(text)
    assert str(version) == text
    assert Version.parse(str(version)) == version
    assert version.is_prerelease == (SemVer.parse(text).prerelease is not None)


@given(_TEXTS, _TEXTS)
def test_order_equality_and_hash_agree_with_the_text(left: str, right: str) -> None:
    one, other = Version.parse(left), Version.parse(right)
    assert (one == other) == (left == right)
    assert (one < other) + (one == other) + (one > other) == 1
    assert one != other or hash(one) == hash(other)


def test_build_metadata_makes_another_version_of_the_same_precedence() -> None:
    plain, built = Version.parse("1.0.0"), Version.parse("1.0.0+cpu")
    assert plain.precedence == built.precedence
    assert plain < built


def test_the_numbers_can_be_asked_for() -> None:
    version = Version.parse("1.22.333-rc.1")
    assert (version.major, version.minor, version.patch, version.is_prerelease) == (1, 22, 333, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "v1.2.3",
        "1.2.3.4",
        "01.2.3",
        "1.2.03",
        "-1.2.3",
        " 1.2.3",
        "1.2.3\n",
        "1.2.3-",
        "1.2.3-a..b",
        "1.2.3-01",
        "1.2.3+",
        "1.2.3-ä",
        "\u0661.2.3",
        "1.2.3/../x",
        "1.2.3-" + "a" * 60,
        "1.2." + "9" * 16,
        "1.2.3-" + "9" * 16,
    ],
)
def test_anything_else_is_no_version(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Version.parse(text)
    assert caught.value.code == "invalid-version"
    assert caught.value.why


def test_importing_versions_and_ranges_does_not_load_the_semver_library() -> None:
    code = "import sys, patchpm.patch.ranges, patchpm.patch.requirement; print('semver' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
