"""The page of formats, from the JSON Schemas in `registry_schema/`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from generator.markdown import GENERATED, code, table

_INTRODUCTION = """# Formats

Every format that patchpm reads or writes has a JSON Schema (2020-12) in `registry_schema/`. What a schema cannot say,
such as digests, order and signatures, is in `registry_schema/README.md`, together with test vectors for clients in
other languages. This page lists the fields.

"""
_LONGEST_PATTERN = 60
"""A pattern longer than this helps nobody on a page; the schema has it."""
_ROW = tuple[str, str, str, str]


def page(folder: Path) -> str:
    """The whole page.

    Args:
        folder: Holds the schemas.
    """
    files = sorted(folder.glob("*.schema.json"))
    schemas = [(path.name, json.loads(path.read_text("utf-8"))) for path in files]
    overview = table(
        ("schema", "format"), ((f"[{name}](#{_anchor(schema)})", schema["title"]) for name, schema in schemas)
    )
    sections = [_section(name, schema) for name, schema in schemas]
    return GENERATED + _INTRODUCTION + overview + "\n" + "\n".join(sections)


def _anchor(schema: Mapping[str, Any]) -> str:
    return str(schema["title"]).lower().replace(",", "").replace(" ", "-")


def _section(name: str, schema: Mapping[str, Any]) -> str:
    definitions = schema.get("$defs", {})
    parts = [f"## {schema['title']}\n", f"{schema['description']} Schema: `{name}`.\n", _fields(schema, definitions)]
    words = [(code(key), _kind(one, definitions), one.get("description", "")) for key, one in definitions.items()]
    if words:
        parts += ["Words used above:\n", table(("word", "kind", "meaning"), words)]
    return "\n".join(parts)


def _fields(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    rows = ((code(name), kind, needed, text) for name, kind, needed, text in _rows(schema, definitions, ""))
    return table(("field", "kind", "required", "meaning"), rows)


def _rows(node: Mapping[str, Any], definitions: Mapping[str, Any], place: str) -> Iterator[_ROW]:
    """The fields of an object and of the objects within it, each with its path."""
    required = node.get("required", [])
    for name, value in node.get("properties", {}).items():
        path = f"{place}{name}"
        needed = "yes" if name in required else "no"
        yield path, _kind(value, definitions), needed, _description(value, definitions)
        inner = _object(value, definitions)
        if inner is not None:
            yield from _rows(inner, definitions, f"{path}.")
        for items in _item_kinds(value):
            inner = _object(items, definitions)
            if inner is not None:
                yield from _rows(inner, definitions, f"{path}[].")


def _object(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = definitions[_word(value)] if "$ref" in value else value
    return found if isinstance(found, dict) and "properties" in found else None


def _description(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    own = value.get("description")
    return str(own or (definitions[_word(value)].get("description", "") if "$ref" in value else ""))


def _word(value: Mapping[str, Any]) -> str:
    return str(value["$ref"]).rpartition("/")[2]


def _item_kinds(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the items of a list may be: one kind for all, or one for each place."""
    items = value.get("items")
    return [items] if isinstance(items, dict) else list(value.get("prefixItems", []))


def _kind(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What may stand there, in a few words."""
    if "const" in value or "enum" in value:
        return " or ".join(code(json.dumps(one)) for one in value.get("enum", [value.get("const")]))
    if "anyOf" in value:
        return " or ".join(_kind(one, definitions) for one in value["anyOf"])
    if "$ref" in value:
        name = _word(value)
    elif value.get("type") == "array":
        name = f"list of {' and '.join(dict.fromkeys(_kind(one, definitions) for one in _item_kinds(value)))}"
    elif isinstance(value.get("additionalProperties"), dict):
        name = f"table of {_kind(value['additionalProperties'], definitions)}"
    else:
        name = value.get("type", "any")
    return f"{name}{_limits(value)}"


def _limits(value: Mapping[str, Any]) -> str:
    """The numbers that bound it, and its pattern where that is short."""
    found = []
    low = value.get("minimum", value.get("minItems"))
    high = value.get("maximum", value.get("maxItems", value.get("maxLength")))
    if low is not None and high is not None:
        found.append(f"{low:,} to {high:,}")
    elif high is not None:
        found.append(f"at most {high:,}")
    elif low is not None:
        found.append(f"at least {low:,}")
    if "exclusiveMinimum" in value:
        found.append(f"more than {value['exclusiveMinimum']}")
    pattern = value.get("pattern", "")
    if pattern and len(pattern) <= _LONGEST_PATTERN and pattern.isprintable():
        found.append(code(pattern))
    return f" ({', '.join(found)})" if found else ""
