"""No reader takes what its schema refuses: good documents are changed at random, and both are asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpm.errors import PatchpmError
from tests.schema.edits import ABSENT, Path, json_text, put, toml_text, with_content, with_set
from tests.schema.formats import FORMATS, Format

STARTS: dict[str, list[Any]] = {
    name: [item.parse(path.read_bytes()) for path in item.vectors("good")] for name, item in FORMATS.items()
}
EDGES: list[Any] = [
    *(0, 1, 2, -1, 256, 257, 4096, 4097, 65_536, 65_537, 2**20 + 1, 2**23 + 1, 2**31 + 1, 2**32, 2**53),
    *(0.5, 1.0, -0.0, 1e300, True, False, "", " ", "x", "*", "1", "sha256:" + "0" * 64, [], {}, [[]], {"": 0}),
    *("acme/toxicity", "1.2.3", "^1 || 2.x", "\u202e", "a" * 201, "../x", "system-start", "text-start", "F16"),
]
LETTERS = "aZ09/.-_+=@:~^<>|*, \n\u00e9\u0131\u0662\u200b\uff0f\U000e0041"


def places(value: object, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*path, number))


def at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


@st.composite
def mutants(draw: st.DrawFn, name: str) -> Any:
    value = draw(st.sampled_from(STARTS[name]))
    for _ in range(draw(st.integers(1, 2))):
        where = draw(st.sampled_from([(), *places(value)]))
        value = mutated(draw, value, where)
    return value


def mutated(draw: st.DrawFn, value: Any, where: Path) -> Any:
    """Change one place: take it out, put something else there, or change what is there a little."""
    old = at(value, where)
    kinds = ["other", "absent"] if where else []
    if isinstance(old, dict):
        kinds.append("surplus")
    if isinstance(old, list):
        kinds.append("longer")
    if isinstance(old, str):
        kinds += ["spelling", "spelling", "spelling"]
    kind = draw(st.sampled_from(kinds))
    if kind == "absent":
        return put(value, where, ABSENT)
    if kind == "surplus":
        name = draw(st.sampled_from(["surprise", "name", "version", "acme/x", "x.y", "Files"]))
        return put(value, (*where, name), draw(st.sampled_from(EDGES)))
    if kind == "longer":
        return put(
            value, where, old * draw(st.sampled_from([0, 2, 70])) + draw(st.lists(st.sampled_from(EDGES), max_size=1))
        )
    if kind == "spelling":
        start = draw(st.integers(0, len(old)))
        end = draw(st.integers(start, min(len(old), start + 2)))
        return put(value, where, old[:start] + draw(st.text(LETTERS, max_size=2)) + old[end:])
    return put(value, where, draw(st.sampled_from(EDGES)))


def written(form: Format, value: Any) -> bytes:
    if form.suffix == ".json":
        return json_text(with_set(value) if form.name == "export" else value)
    text = toml_text(value)
    return (with_content(text) if form.name == "lock" and "content" in value else text).encode()


def is_read(form: Format, data: bytes) -> bool:
    try:
        form.read(data)
    except PatchpmError:
        return False
    return True


@pytest.mark.parametrize("examples", [60, pytest.param(400, marks=pytest.mark.stress)])
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_the_schema_refuses_no_reader_takes(name: str, examples: int) -> None:
    form = FORMATS[name]

    @settings(max_examples=examples, deadline=None)
    @given(mutants(name))
    def check(value: Any) -> None:
        if name == "index-entry" and "anchors" in value:
            # The one gap: an index's reader takes any anchors, and those of the manifest are what counts in the end.
            value = {**value, "anchors": ["system-start"]}
        data = written(form, value)
        read, allowed = is_read(form, data), form.allows(form.parse(data))
        assert allowed or not read, json.dumps(value)

    check()
