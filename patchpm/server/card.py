"""What a repository's README.md says of it to machines: its front matter, and the tags that follow from it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Final

import yaml

from patchpm.server.commit_body import is_storable

CARD: Final = "README.md"
_FRONT: Final = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_MAX_FRONT: Final = 50_000
_GREATEST: Final = 2**63
_MAX_TAGS: Final = 500
_MAX_TAG: Final = 200
_PREFIXED: Final = {"license": "license", "datasets": "dataset", "base_model": "base_model"}


class CardError(ValueError):
    """Front matter that is none."""


class _Loader(yaml.SafeLoader):
    """Safe, without dates (which JSON has none of) and without aliases (of which a short text makes a long one)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise CardError("the metadata of README.md must not have aliases")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_card(text: str) -> dict[str, Any]:
    """The front matter of a README, empty where it has none.

    Raises:
        CardError: It is not a mapping of YAML.
    """
    found = _FRONT.match(text)
    if found is None:
        return {}
    if len(found[1]) > _MAX_FRONT:
        raise CardError("the metadata of README.md is too long")
    try:
        card = yaml.load(found[1], _Loader)
        return {} if card is None else _plain(card)
    except CardError:
        raise
    except Exception as error:  # the loader trips over wrong scalars in every way: AttributeError, KeyError, ...
        raise CardError(f"the metadata of README.md is not YAML: {str(error)[:200]}") from None


def tags_of(card: dict[str, Any]) -> list[str]:
    """What the repository is found by: as the Hub derives them from a card."""
    found = _texts(card.get("tags"))
    found += _texts(card.get("library_name")) + _texts(card.get("pipeline_tag")) + _texts(card.get("language"))
    for key, prefix in _PREFIXED.items():
        found += [f"{prefix}:{value}" for value in _texts(card.get(key))]
    relation = card.get("base_model_relation")
    if isinstance(relation, str):
        found += [f"base_model:{relation}:{value}" for value in _texts(card.get("base_model"))]
    return list(dict.fromkeys(tag[:_MAX_TAG] for tag in found))[:_MAX_TAGS]


def _texts(value: object) -> list[str]:
    values: Iterable[object] = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, str) and item]


def _plain(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CardError("the metadata of README.md is not a mapping")
    return {_text(str(key)): _json(item) for key, item in value.items()}


def _json(value: object) -> object:
    if isinstance(value, dict):
        return _plain(value)
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, int) and abs(value) >= _GREATEST:
        raise CardError("a number in the metadata of README.md is too large")
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _text(str(value))


def _text(text: str) -> str:
    if not is_storable(text):
        raise CardError("the metadata of README.md has characters that are none")
    return text
