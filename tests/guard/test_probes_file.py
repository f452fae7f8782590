"""`patchpm.probes.json`: what is written is read back, and nothing else is read."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchpm.errors import IntegrityError
from patchpm.guard.distribution import TOP, Distribution
from patchpm.guard.reference import Reference
from patchpm.guard.reference_json import MAX_BYTES, read_references, write_references
from tests.guard.any_reference import distributions, references, texts

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Enough to meet each field, on a machine that does other things too."""


@few
@given(references())
def test_what_is_written_is_read_back(reference: Reference) -> None:
    data = write_references([reference])
    assert read_references(data) == (reference,)
    assert write_references(read_references(data)) == data


@few
@given(references(), st.randoms())
def test_the_tokens_of_an_answer_are_read_in_any_order(reference: Reference, chance: random.Random) -> None:
    value = json.loads(write_references([reference]))
    for answer in value["references"][0]["right"]:
        tokens = list(answer.items())
        chance.shuffle(tokens)
        answer.clear()
        answer.update(tokens)
    assert read_references(json.dumps(value).encode()) == (reference,)


def test_a_file_of_a_newer_patchpm_is_told_as_such() -> None:
    with pytest.raises(IntegrityError) as caught:
        read_references(b'{"format": "patchpm-probes-v2", "references": []}')
    assert caught.value.code == "unknown-format"
    assert caught.value.next == "update patchpm"


@few
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | texts, st.lists).map(lambda v: json.dumps(v).encode())
)
def test_other_bytes_are_refused_with_an_error_of_our_own(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        read_references(data)


@few
@given(st.data(), references())
def test_a_file_with_one_thing_changed_is_read_or_refused_and_never_crashes(
    draws: st.DataObject, made: Reference
) -> None:
    value = json.loads(write_references([made]))
    places = list(_places(value))
    place = draws.draw(st.sampled_from(places))
    holder: Any = value
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = draws.draw(
        st.none() | st.integers(-5, 5) | st.floats(allow_nan=False) | texts | st.just([]) | st.just({})
    )
    data = json.dumps(value).encode()
    with suppress(IntegrityError):
        assert read_references(write_references(read_references(data))) == read_references(data)


def _places(value: Any, before: tuple[Any, ...] = ()) -> Any:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*before, key)
        yield from _places(value[key], (*before, key))


@few
@given(distributions, distributions)
def test_a_distance_is_symmetric_and_zero_to_itself(one: Distribution, other: Distribution) -> None:
    assert one.distance(one) == 0
    assert one.distance(other) == pytest.approx(other.distance(one))
    assert one.distance(other) >= 0


@few
@given(distributions, st.floats(-13, 0))
def test_an_engine_that_counts_suppressed_tokens_is_no_farther(one: Distribution, lost: float) -> None:
    seen = Distribution(tuple((text, value + lost) for text, value in one.tokens))
    assert one.distance(seen) == pytest.approx(0, abs=1e-6)


def test_a_likely_token_that_moves_counts_more_than_an_unlikely_one() -> None:
    one = Distribution((("a", -0.05), ("b", -4.0), ("c", -8.0)))
    likely_moved = Distribution((("a", -0.25), ("b", -4.0), ("c", -8.0)))
    unlikely_moved = Distribution((("a", -0.05), ("b", -4.0), ("c", -8.2)))
    assert one.distance(likely_moved) > 5 * one.distance(unlikely_moved)


def test_two_tokens_of_one_text_count_as_one_and_parts_of_characters_do_not_count() -> None:
    made = Distribution.of([("a", -1.0), ("a", -1.0), ("\N{REPLACEMENT CHARACTER}", -0.5), ("", -0.1), ("b", -3.0)])
    assert made.tokens == (("a", -0.3069), ("b", -3.0))


def test_tokens_that_are_equally_likely_when_written_are_in_the_order_of_their_texts() -> None:
    assert Distribution.of([("b", -1.00001), ("a", -1.00002)]).tokens == (("a", -1.0), ("b", -1.0))


def test_a_probability_is_at_most_one() -> None:
    assert Distribution.of([("a", -0.1), ("a", -0.1)]).tokens == (("a", 0.0),)


def test_a_list_holds_no_more_than_servers_give() -> None:
    assert len(Distribution.of((str(index), -float(index)) for index in range(50)).tokens) == TOP


def test_a_file_beyond_the_limit_is_not_parsed() -> None:
    with pytest.raises(IntegrityError) as caught:
        read_references(b" " * (MAX_BYTES + 1))
    assert caught.value.code == "malformed-json"
