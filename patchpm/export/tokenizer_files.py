"""The files of an exported tokenizer: the base's, with tokens for the rows and the template that emits them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from patchpm.errors import CannotError, IntegrityError
from patchpm.export.json_file import write_json
from patchpm.export.placed_set import PlacedSet
from patchpm.model.causal_lm import Tokenizer, backend_of
from patchpm.model.outside_json import read_object

_MAX_CONFIG: Final = 256 << 20
_CODE: Final = "malformed-tokenizer"
_COMPILED: Final = "tokenizer.json"
_CONFIG: Final = "tokenizer_config.json"
_JINJA: Final = "chat_template.jinja"
_JINJA_FOLDER: Final = "additional_chat_templates"
_PROCESSOR: Final = "chat_template.json"
_NAMED: Final = ("special_tokens_map.json", "added_tokens.json")
WRITTEN: Final = frozenset((_COMPILED, _CONFIG, _JINJA, _PROCESSOR, *_NAMED))
"""Names of the files that are written anew, where the base has them."""
SLOW: Final = frozenset(
    (
        "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "tokenizer.model.v3", "spiece.model",
        "sentencepiece.bpe.model", "tekken.json", "qwen.tiktoken",
    )
)  # fmt: skip
"""The vocabulary in other formats. An export leaves them out: who read them would split the prefix into letters."""

_TEMPLATE_NAME: Final = re.compile(r"[\w-]{1,64}", re.ASCII)
"""What a template may be called, since its name becomes that of a file."""


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a model folder.

    Raises:
        CannotError: `tokenizer-unreadable`.
    """
    from transformers import AutoTokenizer

    try:
        return cast("Tokenizer", AutoTokenizer.from_pretrained(folder, local_files_only=True))
    except Exception as error:  # the compiled tokenizer raises this very class
        raise CannotError(
            "tokenizer-unreadable",
            f"the tokenizer in {folder} cannot be loaded",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            next="give the folder that holds tokenizer.json",
        ) from error


def write_tokenizer(base: Path, out: Path, tokenizer: Tokenizer, placed: PlacedSet) -> None:
    """Write the files of the tokenizer to `out`.

    Args:
        base: The base's folder.
        out: The export's folder.
        tokenizer: With the tokens of the set in its compiled tokenizer.
        placed: The set.

    Raises:
        IntegrityError: `malformed-tokenizer`.
        CannotError: `unreadable-file`, `anchor-not-found`.
        OSError: From writing.
    """
    (out / _COMPILED).write_text(backend_of(tokenizer).to_str(), encoding="utf-8")
    for name in _NAMED:
        if (base / name).is_file():
            value = _renamed(read_object(base / name, max_bytes=_MAX_CONFIG, code=_CODE), placed.replaced)
            if name == "added_tokens.json":
                value |= dict(zip(placed.names, range(placed.first, placed.end), strict=True))
            write_json(out / name, value)
    config = None
    if (base / _CONFIG).is_file():
        config = _renamed(read_object(base / _CONFIG, max_bytes=_MAX_CONFIG, code=_CODE), placed.replaced)
        if isinstance(config.get("added_tokens_decoder"), dict):
            config["added_tokens_decoder"] |= {
                str(placed.first + row): _added(name) for row, name in enumerate(placed.names)
            }
    _write_template(base, out, placed.placement.template, config)
    if config is not None:
        write_json(out / _CONFIG, config)


def _write_template(base: Path, out: Path, template: str | Mapping[str, str], config: dict[str, Any] | None) -> None:
    """Write the template to every place where the base has it, so that no reader finds the old one."""
    named = {"default": template} if isinstance(template, str) else dict(template)
    bad = next((name for name in named if _TEMPLATE_NAME.fullmatch(name) is None), None)
    if bad is not None or "default" not in named:
        raise IntegrityError(
            _CODE,
            f"the chat templates of {base} cannot be written to files of their names",
            why=f"one is called {bad[:80]!r}" if bad is not None else "none of them is called 'default'",
        )
    places = 0
    if config is not None and config.get("chat_template") is not None:
        entries = [{"name": name, "template": source} for name, source in named.items()]
        config["chat_template"] = template if isinstance(template, str) else entries
        places += 1
    if (base / _PROCESSOR).is_file():
        write_json(out / _PROCESSOR, {"chat_template": named["default"]})
        places += 1
    if (base / _JINJA).is_file() or (base / _JINJA_FOLDER).is_dir():
        for name, source in named.items():
            path = out / _JINJA if name == "default" else out / _JINJA_FOLDER / f"{name}.jinja"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(source.encode())
        places += 1
    if not places:
        raise CannotError(
            "anchor-not-found",
            f"{base} has its chat template in no file that can be written",
            why=f"it is neither in {_JINJA} nor in {_CONFIG}",
        )


def _added(name: str) -> dict[str, Any]:
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    return {"content": name, **flags, "special": True}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with every string that is the name of a replaced token changed, keys too."""
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
