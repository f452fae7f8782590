from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpm.errors import UsageError
from patchpm.patch.name import PatchName, check_vendor, is_segment

_SEGMENTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?", fullmatch=True)


@given(_SEGMENTS.filter(lambda text: text not in {"root", "snapshot", "targets", "timestamp"}), _SEGMENTS)
def test_a_name_is_written_as_it_was_read(vendor: str, name: str) -> None:
    parsed = PatchName.parse(f"{vendor}/{name}")
    assert (parsed.vendor, parsed.name) == (vendor, name)
    assert str(parsed) == f"{vendor}/{name}"


@pytest.mark.parametrize(
    "text",
    [
        "toxicity",
        "/toxicity",
        "acme/",
        "acme/toxicity/x",
        "Acme/toxicity",
        "acme/tox_icity",
        "acme/-toxicity",
        "acme/toxicity-",
        "acme/toxicity\n",
        "\u0430cme/toxicity",
        "acme/../toxicity",
        "acme/" + "a" * 40,
        "root/toxicity",
        "targets/toxicity",
    ],
)
def test_anything_else_is_no_name(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        PatchName.parse(text)
    assert caught.value.code == "invalid-name"


def test_a_vendor_may_not_take_the_file_of_a_metadata_role() -> None:
    assert check_vendor("acme") == "acme"
    for role in ("root", "snapshot", "targets", "timestamp"):
        assert is_segment(role)
        with pytest.raises(UsageError):
            check_vendor(role)


def test_names_sort_by_vendor_and_then_by_name() -> None:
    names = [PatchName.parse(text) for text in ("b/a", "a/b", "a-b/c", "a/a")]
    assert [str(name) for name in sorted(names)] == ["a/a", "a/b", "a-b/c", "b/a"]
