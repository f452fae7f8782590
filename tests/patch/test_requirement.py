from __future__ import annotations

import pytest

from patchpm.errors import UsageError
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.requirement import Requirement


@pytest.mark.parametrize(
    ("text", "vendor", "name", "wanted"),
    [
        ("toxicity", None, "toxicity", None),
        ("toxicity@1.2", None, "toxicity", "1.2"),
        ("acme/toxicity", "acme", "toxicity", None),
        ("acme/toxicity@^1.2", "acme", "toxicity", "^1.2"),
        ("acme/toxicity@1.2.3", "acme", "toxicity", "1.2.3"),
        (" acme/toxicity @ >=1.2, <2 ".replace(" @ ", "@ "), "acme", "toxicity", ">=1.2 <2"),
        ("toxicity@1 || 2", None, "toxicity", "1 || 2"),
    ],
)
def test_a_requirement_is_a_name_and_perhaps_a_range(
    text: str, vendor: str | None, name: str, wanted: str | None
) -> None:
    parsed = Requirement.parse(text)
    assert parsed == Requirement(vendor, name, None if wanted is None else Range.parse(wanted))
    assert Requirement.parse(str(parsed)) == parsed


def test_the_full_name_is_known_where_the_vendor_is_given() -> None:
    assert Requirement.parse("acme/toxicity").patch == PatchName("acme", "toxicity")
    assert Requirement.parse("toxicity").patch is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid-requirement"),
        ("@1.2", "invalid-requirement"),
        ("toxicity@", "invalid-requirement"),
        ("toxicity@ ", "invalid-requirement"),
        ("toxicity>=1.2", "invalid-requirement"),
        ("a/b/c", "invalid-requirement"),
        ("Toxicity", "invalid-requirement"),
        ("/toxicity", "invalid-name"),
        ("ROOT/toxicity", "invalid-name"),
        ("root/toxicity", "invalid-name"),
        ("toxicity@latest", "invalid-range"),
        ("toxicity@1@2", "invalid-range"),
    ],
)
def test_a_malformed_requirement_is_refused_with_its_own_code(text: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        Requirement.parse(text)
    assert caught.value.code == code
