"""The tokenizer that a GGUF file holds, as a fast tokenizer of transformers, proven to be the same vocabulary."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from patchpm.errors import CannotError, IntegrityError
from patchpm.export.gguf_pieces import chat_templates, is_spare
from patchpm.export.tokenizer_files import load_tokenizer
from patchpm.model.causal_lm import Tokenizer, backend_of, set_backend
from patchpm.model.fingerprint import tokenizer_digest_of_gguf
from patchpm.model.gguf_file import GgufHeader
from patchpm.model.loaded import LoadedPatch
from patchpm.model.tokenizer_digest import template_digest, tokenizer_digest_of
from patchpm.patch.digest import Digest

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend


def tokenizer_of_gguf(header: GgufHeader, folder: Path | None = None) -> Tokenizer:
    """Load the tokenizer, with the chat template of the file.

    Args:
        header: Of the file.
        folder: A model folder with the same tokenizer, which loads much faster; None to take it from the file.

    Raises:
        IntegrityError: `tokenizer-mismatch` where what was loaded has another vocabulary than the file.
        CannotError: `tokenizer-unsupported`, `no-tokenizer`.
    """
    tokens, types = header.texts("tokenizer.ggml.tokens"), header.integers("tokenizer.ggml.token_type")
    if not tokens:
        raise CannotError("no-tokenizer", f"{header.path} holds no tokenizer", next="convert the model again with it")
    spare = {number for number in range(len(tokens)) if is_spare(tokens, types, number)}
    loaded = load_tokenizer(folder) if folder is not None else tokenizer_in_file(header.path)
    if folder is None and spare:
        set_backend(loaded, _without(backend_of(loaded), spare))
    backend = backend_of(loaded)
    size = backend.get_vocab_size(with_added_tokens=True)
    same = [backend.id_to_token(number) for number in range(size)] == tokens[:size]
    rest = spare.issuperset(range(size, len(tokens)))
    stated = tokenizer_digest_of_gguf(header)
    if not same or not rest or (stated is not None and tokenizer_digest_of(loaded) != stated):
        raise IntegrityError(
            "tokenizer-mismatch",
            f"the tokenizer in {header.path} is not the one in {folder or 'the file, as transformers reads it'}",
            why="the two have different tokens, ids or merges",
            next="give a GGUF file that was made of the project's base model",
        )
    loaded.chat_template = chat_templates(header)
    return loaded


def check_made_for(patches: Sequence[LoadedPatch], header: GgufHeader) -> None:
    """Refuse a file whose tokenizer or chat template is not the one that the patches were made with.

    Raises:
        IntegrityError: `tokenizer-mismatch`, `template-mismatch`.
    """
    template = header.text("tokenizer.chat_template")
    found = None if template is None else template_digest(template)
    tokens = tokenizer_digest_of_gguf(header)
    for patch in patches:
        if tokens is not None:
            _same(patch, header, "tokenizer", patch.base.tokenizer, tokens)
        _same(patch, header, "template", patch.base.template, found)


def _same(patch: LoadedPatch, header: GgufHeader, what: str, expected: Digest | None, found: Digest | None) -> None:
    if expected is not None and expected != found:
        name = "chat template" if what == "template" else what
        raise IntegrityError(
            f"{what}-mismatch",
            f"the {name} in {header.path} is not the one {patch.name} was made with",
            why=f"expected {expected}, found {found or 'none'}",
            next=f"convert {patch.base.name} to GGUF with its own {name}",
        )


def _without(backend: Backend, spare: Collection[int]) -> Backend:
    """A compiled tokenizer without the tokens that only fill up the vocabulary, so that their ids are free."""
    from tokenizers import Tokenizer as Compiled

    value: dict[str, Any] = json.loads(backend.to_str())
    value["added_tokens"] = [token for token in value["added_tokens"] if token["id"] not in spare]
    vocabulary = value["model"]["vocab"]
    if isinstance(vocabulary, dict):
        value["model"]["vocab"] = {token: number for token, number in vocabulary.items() if number not in spare}
    return Compiled.from_str(json.dumps(value, ensure_ascii=False))


def tokenizer_of(source: Path) -> Tokenizer:
    """The tokenizer of a base: a model folder or a GGUF file.

    Raises:
        CannotError: `tokenizer-unreadable`, `tokenizer-unsupported`.
    """
    return load_tokenizer(source) if source.is_dir() else tokenizer_in_file(source)


def tokenizer_in_file(path: Path) -> Tokenizer:
    """The tokenizer of a GGUF file, as transformers reads it.

    Raises:
        CannotError: `tokenizer-unsupported`.
    """
    from transformers import AutoTokenizer

    # From a folder of its own, so that no other tokenizer beside the file is taken for the file's.
    with tempfile.TemporaryDirectory(prefix="patchpm-tokenizer-") as folder:
        Path(folder, "model.gguf").symlink_to(path.resolve())
        try:
            loaded: Any = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf", local_files_only=True)
        except Exception as error:  # the compiled tokenizer raises this very class
            raise _unreadable(path, error) from error
    return cast("Tokenizer", loaded)


def _unreadable(path: Path, error: Exception) -> CannotError:
    return CannotError(
        "tokenizer-unsupported",
        f"transformers cannot load the tokenizer in {path}",
        why=str(error).splitlines()[0] if str(error) else type(error).__name__,
        next="name the model's folder as base of the project, and this file with --gguf",
    )
