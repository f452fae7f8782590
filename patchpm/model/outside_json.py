"""JSON that other programs wrote beside a model: bounded and without duplicate keys, but with the numbers they use.

`config.json` may hold `Infinity`, and `tokenizer_config.json` an integer of 31 digits, so `patchpm.patch.strict_json`
cannot read them. Nothing read here is signed or hashed as it stands.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from patchpm.errors import IntegrityError
from patchpm.model.stored_tensor import reading
from patchpm.patch.strict_json import JsonValue


def read_object(path: Path, *, max_bytes: int, code: str) -> dict[str, JsonValue]:
    """Read a file that holds one JSON object.

    Raises:
        IntegrityError: `code` for anything else, for a key that stands twice, or for more than `max_bytes`.
        CannotError: `unreadable-file`.
    """
    with reading(path), path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise IntegrityError(code, f"{path} is too large", why=f"at most {max_bytes:,} bytes are allowed")
    return parse_object(data, source=str(path), code=code)


def parse_object(data: bytes | str, *, source: str, code: str) -> dict[str, JsonValue]:
    """Parse one JSON object; `source` names it in errors.

    Raises:
        IntegrityError: `code`.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        value: JsonValue = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise IntegrityError(code, f"{source} is not acceptable JSON", why="it is nested too deep") from None
    except ValueError as error:
        raise IntegrityError(code, f"{source} is not acceptable JSON", why=str(error)) from None
    if not isinstance(value, dict):
        raise IntegrityError(code, f"{source} is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = sorted(key for key, _ in pairs)
        twice = next(key for key, following in itertools.pairwise(keys) if key == following)
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found
