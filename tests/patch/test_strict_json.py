from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpm.errors import IntegrityError
from patchpm.patch.strict_json import JsonValue, compact, dumps, loads

json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(json_values)
def test_what_is_written_is_read_back(value: JsonValue) -> None:
    for data in (dumps(value), compact(value)):
        assert loads(data, source="x", max_bytes=10**6, max_depth=64) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b'{"a": {"b": 1, "b": 1}}', "stands twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "too large"),
        (b"[9007199254740993]", "beyond 2**53"),
        (b"[" + b"9" * 5000 + b"]", "beyond 2**53"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'["\xff"]', "utf-8"),
        (b"[1,]", "Expecting value"),
        (b"{} {}", "Extra data"),
        (b"", "Expecting value"),
        (b"[" * 40 + b"]" * 40, "nested deeper"),
        (b"[" * 100_000, "nested too deep"),
        (b" " * 1001, "at most 1,000"),
    ],
)
def test_ambiguous_or_unbounded_json_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(IntegrityError) as refusal:
        loads(data, source="a file", max_bytes=200_000 if len(data) > 1001 else 1000)
    assert refusal.value.code == "malformed-json"
    assert reason in refusal.value.why
    assert "a file" in refusal.value.what


def test_a_value_at_the_allowed_depth_is_read() -> None:
    assert loads(b"[" * 32 + b"]" * 32, source="x", max_bytes=100)
