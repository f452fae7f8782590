"""Tokens that a vocabulary keeps free (`<|reserved_special_token_7|>`, `<unused7>`), and giving them other names.

A patch that takes such ids needs no larger vocabulary. Their own names are public, and text that contains the name of
a token is tokenised to it, so they must get names that nobody can guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from patchpm.errors import CannotError
from patchpm.model.causal_lm import Tokenizer, backend_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_FREE: Final = re.compile(
    r"[<\[]\|?(reserved|unused|placeholder|special|control|dummy)(_special)?(_token)?_?\d+\|?[>\]]"
)
_NAMED: Final = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


def reserved_run(tokenizer: Tokenizer, count: int, used: Collection[int]) -> range | None:
    """The highest `count` ids in a row that the vocabulary keeps free; None where there are too few.

    Args:
        tokenizer: Its added tokens are looked through. A token with a role, or one that the chat template writes, is
            not free, whatever its name.
        count: How many are needed.
        used: Ids that the model's configuration gives a meaning.
    """
    roles = {str(getattr(tokenizer, role, None)) for role in _NAMED}
    template = json.dumps(tokenizer.chat_template, ensure_ascii=False)
    free = sorted(
        number
        for number, token in backend_of(tokenizer).get_added_tokens_decoder().items()
        if _FREE.fullmatch(token.content.lower())
        and number not in used
        and token.content not in roles
        and token.content not in template
    )
    for last in range(len(free) - 1, count - 2, -1):
        if free[last] - free[last - count + 1] == count - 1:
            return range(free[last] - count + 1, free[last] + 1)
    return None


def renamed(backend: Backend, names: Mapping[int, str]) -> Backend:
    """A copy of a compiled tokenizer in which the added tokens with the given ids are special ones of other names.

    Raises:
        CannotError: `tokenizer-unsupported`.
    """
    from tokenizers import Tokenizer as Compiled

    value: dict[str, Any] = json.loads(backend.to_str())
    old = {}
    for token in value["added_tokens"]:
        if token["id"] in names:
            old[token["content"]] = names[token["id"]]
            token |= {"content": names[token["id"]], "special": True, "normalized": False}
            token |= {"single_word": False, "lstrip": False, "rstrip": False}
    vocabulary = value["model"].get("vocab")
    if isinstance(vocabulary, dict):
        value["model"]["vocab"] = {old.get(token, token): number for token, number in vocabulary.items()}
    elif isinstance(vocabulary, list):
        value["model"]["vocab"] = [[old.get(token, token), score] for token, score in vocabulary]
    try:
        made = Compiled.from_str(json.dumps(value, ensure_ascii=False))
    except Exception as error:
        raise CannotError(
            "tokenizer-unsupported", "the reserved tokens of this vocabulary cannot be renamed", why=str(error)[:200]
        ) from error
    return made
