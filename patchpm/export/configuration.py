"""`config.json` and `generation_config.json` of an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from patchpm.errors import IntegrityError
from patchpm.export.json_file import write_json
from patchpm.model.outside_json import read_object

_GENERATION: Final = "generation_config.json"
_MAX_CONFIG: Final = 16 << 20
_ROLES: Final = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def with_vocabulary(config: dict[str, Any], rows: int) -> dict[str, Any]:
    """The configuration of the same model with another number of rows and a head of its own.

    Args:
        config: As `config.json` of the base has it; not changed.
        rows: Of the embedding and of the head.
    """
    new = {**config, "tie_word_embeddings": False}
    text = config.get("text_config")
    if isinstance(text, dict):
        new["text_config"] = {**text, "vocab_size": rows, "tie_word_embeddings": False}
    if not isinstance(text, dict) or "vocab_size" in config:
        new["vocab_size"] = rows
    return new


def ids_in_use(base: Path, config: dict[str, Any]) -> frozenset[int]:
    """Token ids that the configuration of a base gives a meaning: end of text, images, and so on."""
    values: list[dict[str, Any]] = [config]
    if (base / _GENERATION).is_file():
        values.append(_generation(base))
    return frozenset(number for value in values for number in _ids(value))


def write_generation_config(base: Path, out: Path, config: dict[str, Any], never: range) -> None:
    """Write a `generation_config.json` that keeps `generate` from saying the tokens of the patches.

    Args:
        base: The base's folder.
        out: The export's folder.
        config: The base's `config.json`, which `transformers` goes by where there is no such file.
        never: The token ids.

    Raises:
        IntegrityError: `malformed-config`.
        CannotError: `unreadable-file`.
    """
    if (base / _GENERATION).is_file():
        value = _generation(base)
    else:
        text = config.get("text_config")
        roles = {**config, **(text if isinstance(text, dict) else {})}
        value = {key: roles[key] for key in _ROLES if roles.get(key) is not None}
    value.pop("_from_model_config", None)
    before = value.get("suppress_tokens") or []
    if not isinstance(before, list):
        raise IntegrityError("malformed-config", f"{base / _GENERATION}: suppress_tokens is not a list")
    write_json(out / _GENERATION, value | {"suppress_tokens": [*before, *never]})


def _generation(base: Path) -> dict[str, Any]:
    return dict(read_object(base / _GENERATION, max_bytes=_MAX_CONFIG, code="malformed-config"))


def _ids(value: dict[str, Any]) -> list[int]:
    found: list[int] = []
    for key, item in value.items():
        if isinstance(item, dict):
            found += _ids(item)
        elif key.endswith(("token_id", "token_ids", "token_index")):
            found += [number for number in (item if isinstance(item, list) else [item]) if isinstance(number, int)]
    return found
