"""A stream of events on its way through, in pieces of any size."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpm.gateway.event_stream import BrokenStreamError, EventStream


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


WORD = event(choices=[{"delta": {"content": "word"}}])
USAGE = event(choices=[], usage={"prompt_tokens": 7})
END = b"data: [DONE]\n\n"
WHOLE = WORD + b": a comment\r\n\r\n" + WORD + USAGE + END


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[start:end] for start, end in pairwise(ends)]


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12), st.booleans())
def test_however_it_is_cut_the_same_comes_out_and_only_whole_events(places: list[int], hide_usage: bool) -> None:
    stream = EventStream(hide_usage)
    passed = [stream.feed(piece) for piece in cut(WHOLE, places)]
    assert b"".join(passed) == WORD + b": a comment\r\n\r\n" + WORD + (b"" if hide_usage else USAGE)
    assert all(piece.endswith(b"\n") for piece in passed if piece)
    assert (stream.done, stream.failed, stream.prompt_tokens) == (True, False, 7)


@given(st.lists(st.integers(0, 200), max_size=4))
def test_what_comes_after_the_end_is_dropped(places: list[int]) -> None:
    stream = EventStream(hide_usage=False)
    said = b"".join(stream.feed(piece) for piece in cut(WORD + END + WORD + USAGE, places))
    assert said == WORD
    assert stream.prompt_tokens is None


def test_an_error_is_passed_on_and_known() -> None:
    stream = EventStream(hide_usage=True)
    failed = event(error={"message": "out of memory"})
    assert stream.feed(failed) == failed
    assert (stream.failed, stream.done) == (True, False)


def feed_without_end(stream: EventStream) -> None:
    for _ in range(2000):
        stream.feed(b"data: " + b"x" * 16_000)


def test_an_event_without_an_end_is_refused() -> None:
    with pytest.raises(BrokenStreamError):
        feed_without_end(EventStream(hide_usage=True))
