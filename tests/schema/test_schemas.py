from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from patchpm.export import provenance
from patchpm.guard import reference_json
from patchpm.guard.distribution import TOP
from patchpm.patch import ranges, version
from patchpm.patch.manifest import ANCHORS, DOMAINS, DTYPES, MAX_TOKENS
from patchpm.patch.manifest_json import FORMAT
from patchpm.patch.record import is_printable
from patchpm.patch.release import ATTESTATIONS, MANIFEST, MAX_BYTES, PREFIX
from patchpm.trust.envelope import PAYLOAD_TYPE
from patchpm.trust.statement import EVALUATION, RELEASE
from tests.schema.formats import FOLDER, FORMATS

NAMES = sorted(FORMATS)
RESERVED = "^(?:root|snapshot|targets|timestamp)/"
"""What a name may not start with."""


def nodes(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def patterns(schema: dict[str, Any]) -> set[str]:
    return {node["pattern"] for node in nodes(schema) if isinstance(node.get("pattern"), str)}


def test_there_is_a_schema_for_every_format_and_no_other() -> None:
    assert {path.name for path in FOLDER.glob("*.schema.json")} == {f"{name}.v1.schema.json" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_json_schema_2020_12_and_says_where_it_lives(name: str) -> None:
    schema = FORMATS[name].schema
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"https://patchpm.dev/schema/{name}.v1.schema.json"
    assert schema["title"]
    assert schema["description"]


@pytest.mark.parametrize("name", NAMES)
def test_objects_are_closed(name: str) -> None:
    open_ones = [
        node
        for node in nodes(FORMATS[name].schema)
        if node.get("type") == "object" and "additionalProperties" not in node
    ]
    # What a statement says may be of a kind that is not known yet.
    assert open_ones == ([{"type": "object"}] if name == "statement" else [])


@pytest.mark.parametrize("name", NAMES)
def test_patterns_are_anchored_and_mean_the_same_in_every_language(name: str) -> None:
    for pattern in patterns(FORMATS[name].schema):
        assert pattern.startswith("^")
        assert pattern.endswith("$") or pattern == RESERVED
        re.compile(pattern)
        # Classes like \d, \u and lookaheads are where ECMAScript, RE2 and Python differ.
        assert not re.search(r"\\[a-zA-Z0-9]|\(\?[^:]", pattern)


def test_what_schemas_share_is_the_same_in_all_of_them() -> None:
    seen: dict[str, object] = {}
    for name in NAMES:
        for key, definition in FORMATS[name].schema.get("$defs", {}).items():
            assert seen.setdefault(key, definition) == definition, f"{key} of {name}"


@pytest.mark.parametrize("name", NAMES)
def test_no_definition_is_left_over(name: str) -> None:
    schema = FORMATS[name].schema
    used = {node["$ref"].removeprefix("#/$defs/") for node in nodes(schema) if "$ref" in node}
    assert used == set(schema.get("$defs", {}))


def test_the_text_pattern_refuses_what_the_reader_refuses() -> None:
    pattern = re.compile(FORMATS["manifest"].schema["$defs"]["text"]["pattern"])
    plane = [*range(0xD800), *range(0xE000, 0x10000)]
    differ = [hex(code) for code in plane if bool(pattern.fullmatch(chr(code))) != is_printable(chr(code))]
    assert differ == []


def test_schemas_are_laid_out_alike() -> None:
    for name in NAMES:
        text = (FOLDER / f"{name}.v1.schema.json").read_text("utf-8")
        assert text == json.dumps(json.loads(text), indent=2) + "\n"


def test_bounds_and_lists_are_those_of_the_code() -> None:
    shared = FORMATS["manifest"].schema["$defs"] | FORMATS["lock"].schema["$defs"]
    prefix = FORMATS["manifest"].schema["properties"]["prefix"]["properties"]
    assert shared["anchor"]["enum"] == list(ANCHORS)
    assert prefix["dtype"]["enum"] == list(DTYPES)
    assert prefix["tokens"]["maximum"] == MAX_TOKENS
    assert prefix["size"]["maximum"] == MAX_BYTES[PREFIX]
    for kind, file in (("manifest", MANIFEST), ("prefix", PREFIX), ("attestations", ATTESTATIONS)):
        assert shared[f"{kind}-file"]["properties"]["size"]["maximum"] == MAX_BYTES[file]
    assert shared["version"]["maxLength"] == version.MAX_LENGTH
    assert shared["range"]["maxLength"] == ranges.MAX_LENGTH
    assert FORMATS["export"].schema["properties"]["rows"]["properties"]["dtype"]["enum"] == list(DTYPES)
    probes = FORMATS["probes"].schema
    references = probes["properties"]["references"]
    assert references["maxItems"] == reference_json.MAX_REFERENCES
    assert references["items"]["properties"]["probes"]["maxItems"] == reference_json.MAX_PROBES
    assert references["items"]["properties"]["alternatives"]["maxItems"] == reference_json.MAX_ALTERNATIVES
    assert probes["$defs"]["answer"]["maxProperties"] == TOP
    domain = re.compile(shared["domain"]["pattern"])
    assert all(domain.match(name) for name in DOMAINS)
    for name, format_ in (
        ("statement", RELEASE),
        ("statement", EVALUATION),
        ("manifest", FORMAT),
        ("export", provenance.FORMAT),
        ("probes", reference_json.FORMAT),
        ("envelope", PAYLOAD_TYPE),
    ):
        assert {"const": format_} in list(nodes(FORMATS[name].schema))
