"""`patchpm.probes.json`: what is written is read back, and nothing else is read."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchpm.errors import IntegrityError
from patchpm.guard.distribution import TOP, Distribution
from patchpm.guard.reference import Hypothesis, Noise, Probe, Reference
from patchpm.guard.reference_json import MAX_BYTES, read_references, write_references
from patchpm.guard.served import AsLocked, Half, HalfStripped, LeftOut, Stripped, WrongOrder
from patchpm.patch.digest import Digest
from patchpm.patch.name import PatchName

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Enough to meet each field, on a machine that does other things too."""

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
names = st.sampled_from(["acme/toxicity", "acme/bias", "corp/x-own"]).map(PatchName.parse)
distributions = (
    st.lists(st.tuples(texts, st.floats(-40, 0)), min_size=1, max_size=30)
    .map(Distribution.of)
    .filter(lambda made: bool(made.tokens))
)
alternatives = st.one_of(
    st.just(Stripped()),
    st.sampled_from(Half).map(HalfStripped),
    names.map(LeftOut),
    st.lists(names, min_size=2, max_size=3).map(lambda order: WrongOrder(tuple(order))),
)
distances = st.floats(0.001, 40).map(lambda value: round(value, 4))


@st.composite
def references(draw: st.DrawFn) -> Reference:
    count = draw(st.integers(1, 2))
    answers = st.lists(distributions, min_size=count, max_size=count).map(tuple)
    tokens = st.integers(1, 900)
    probes = tuple(
        Probe(({"role": "user", "content": draw(texts)},), draw(tokens), draw(tokens), draw(texts), draw(texts))
        for _ in range(count)
    )
    served = draw(st.lists(alternatives, min_size=1, max_size=2, unique=True))
    return Reference(
        base=Digest.of(draw(st.binary(max_size=4))),
        template=draw(st.none() | st.just(Digest.of(b"template"))),
        set=Digest.of(b"set"),
        anchor="system-start",
        patches=("acme/toxicity 1.0.0",),
        probes=probes,
        right=Hypothesis(AsLocked(), draw(answers)),
        alternatives=tuple(Hypothesis(one, draw(answers)) for one in served),
        noise=(Noise("bfloat16", draw(distances)),),
        threshold=draw(distances),
        separation=draw(distances),
    )


@few
@given(references())
def test_what_is_written_is_read_back(reference: Reference) -> None:
    data = write_references([reference])
    assert read_references(data) == (reference,)
    assert write_references(read_references(data)) == data


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


def test_two_tokens_of_one_text_count_as_one_and_parts_of_characters_do_not_count() -> None:
    made = Distribution.of([("a", -1.0), ("a", -1.0), ("\N{REPLACEMENT CHARACTER}", -0.5), ("", -0.1), ("b", -3.0)])
    assert made.tokens == (("a", -0.3069), ("b", -3.0))


def test_a_list_holds_no_more_than_servers_give() -> None:
    assert len(Distribution.of((str(index), -float(index)) for index in range(50)).tokens) == TOP


def test_a_file_beyond_the_limit_is_not_parsed() -> None:
    with pytest.raises(IntegrityError) as caught:
        read_references(b" " * (MAX_BYTES + 1))
    assert caught.value.code == "malformed-json"
