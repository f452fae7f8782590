"""The tokenizer's side of a virtual vocabulary: one special token a row, under names that nobody can guess.

Text that contains the name of a token is tokenised to it. So the names are made of 128 random bits, new at every apply.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from patchpm.errors import CannotError, IntegrityError, UsageError
from patchpm.model.causal_lm import Tokenizer, backend_of, encode, set_backend
from patchpm.model.placement import Run
from patchpm.model.reserved_tokens import renamed
from patchpm.model.virtual_vocabulary import refuse_saving

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_MARK = "<|patchpm:"


def has_virtual_tokens(tokenizer: Tokenizer) -> bool:
    """Whether patches are applied to this tokenizer already."""
    return any(token.content.startswith(_MARK) for token in backend_of(tokenizer).get_added_tokens_decoder().values())


class VirtualTokens:
    """The tokens added to one tokenizer, and the way back.

    The tokenizer works with a copy of its backend meanwhile; the original waits untouched.

    Args:
        tokenizer: Changed in place.
        count: Rows of all patches together.
        instead_of: Ids in a row of tokens that the vocabulary keeps free, which get other names; None to add tokens.

    Raises:
        CannotError: `tokenizer-unsupported`.
    """

    def __init__(self, tokenizer: Tokenizer, count: int, *, instead_of: range | None = None) -> None:
        self._tokenizer = tokenizer
        self._original = backend_of(tokenizer)
        self._template = tokenizer.chat_template
        secret = secrets.token_hex(16)
        self.names = tuple(f"{_MARK}{secret}:{row:04d}|>" for row in range(count))
        """Token names, by row."""
        if instead_of is None:
            self._backend = _extended(self._original, self.names)
        else:
            self._backend = renamed(self._original, dict(zip(instead_of, self.names, strict=True)))
        ids = [self._backend.token_to_id(name) for name in self.names]
        if not ids or ids[0] is None or ids != list(range(ids[0], ids[0] + count)):
            raise CannotError("tokenizer-unsupported", "the tokenizer does not give new tokens successive ids")
        self.first: int = ids[0]
        """The id of row 0."""
        self.end = self.first + count
        """One more than the id of the last row."""
        set_backend(tokenizer, self._backend)
        refuse_saving(tokenizer, "tokenizer")

    def check(self) -> None:
        """Make sure that the tokenizer still knows the tokens.

        Raises:
            IntegrityError: `patch-removed`.
        """
        if backend_of(self._tokenizer) is not self._backend or self._backend.token_to_id(self.names[0]) != self.first:
            raise IntegrityError(
                "patch-removed",
                "the tokenizer no longer knows the tokens of the patches",
                why="its compiled tokenizer was replaced after the patches were applied",
                next="apply them again",
            )

    @property
    def base_template(self) -> Any:
        """The base's own chat template: text, several by name, or None."""
        return self._template

    @property
    def base_processor(self) -> Any:
        """The base's own post-processor, or None."""
        return self._original.post_processor

    def run(self, parts: Iterable[tuple[range, str]]) -> Run:
        """The run of some patches, as the tokenizer splits it.

        Args:
            parts: Of each patch, in order, its rows and the text that follows the last of them.

        Raises:
            CannotError: `tokenizer-unsupported`.
        """
        text, separator, own = "", "", []
        for rows, behind in parts:
            text += separator + "".join(self.names[row] for row in rows)
            own += [self.first + row for row in rows]
            separator = behind
        ids = encode(self._tokenizer, text)
        if [token for token in ids if self.first <= token < self.end] != own:
            raise CannotError("tokenizer-unsupported", "the tokenizer does not keep the prefix tokens apart")
        return Run(text, ids, separator)

    def restore_anchor(self) -> None:
        """Put back the chat template and the post-processor, and keep the tokens."""
        self._tokenizer.chat_template = self._template
        cast("Any", self._backend).post_processor = self._original.post_processor

    def remove(self) -> None:
        """Give the tokenizer its own backend and template back."""
        set_backend(self._tokenizer, self._original)
        self._tokenizer.chat_template = self._template
        del cast("Any", self._tokenizer).save_pretrained


def _extended(backend: Backend, names: Sequence[str]) -> Backend:
    from tokenizers import AddedToken

    made = copy.deepcopy(backend)
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return made


def refuse_second_time(tokenizer: Tokenizer, *, model_is_virtual: bool) -> None:
    """Refuse to apply patches on top of applied ones.

    Raises:
        UsageError: `already-applied`.
    """
    if model_is_virtual or has_virtual_tokens(tokenizer):
        raise UsageError(
            "already-applied",
            "patches are applied to this model or tokenizer already",
            why="a second set would stand beside the first, in an order that nobody measured",
            next="call remove() on the first, or apply all patches together and switch with use()",
        )
