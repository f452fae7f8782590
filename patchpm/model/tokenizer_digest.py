r"""What the digests of tokenizers and chat templates are taken over. This is a public format, like `weights_digest`.

    tokenizer = sha256("patchpm-tokenizer-v1\n" + {"merges":[[left, right], ...],"vocab":[[id, token], ...]})
    template  = sha256(text of the chat template, UTF-8, every line end written as "\n")

The JSON has its keys in this order, no white space, UTF-8 text that is escaped no more than JSON asks for (as in
`weights_digest`). `vocab` holds every token with its id, added and special tokens too, in the spelling that the
tokenizer stores (`\u0120the` for " the" in a byte-level vocabulary), sorted by id; a pair that is listed twice
counts once. `merges` holds the merges of a BPE vocabulary in order of rank, and is empty for other kinds. Scores,
normalisers and token types take no part.

The three places a tokenizer is found in agree: `tokenizer.json`, the metadata of a GGUF file, and a loaded fast
tokenizer. Two things need care in a GGUF file. Converters fill ids that the tokenizer does not use with tokens
`[PAD<id>]` of type 5 (unused): these are left out. And a SentencePiece vocabulary (`tokenizer.ggml.model` other than
`gpt2`) is stored without its merges: it has no digest, because it cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from patchpm.errors import CannotError, IntegrityError
from patchpm.model.outside_json import parse_object, read_object
from patchpm.patch import strict_json
from patchpm.patch.digest import Digest

_FORMAT: Final = b"patchpm-tokenizer-v1\n"
_MAX_TOKENIZER: Final = 256 * 1024 * 1024
_MAX_CONFIG: Final = 16 * 1024 * 1024
_CODE: Final = "malformed-tokenizer"
_UNUSED: Final = 5


def tokenizer_digest(
    vocabulary: Iterable[tuple[int, str]], merges: Iterable[tuple[str, str]], *, source: str
) -> Digest:
    """Digest of a vocabulary of (id, token) pairs and of the merges in order.

    Raises:
        IntegrityError: `malformed-tokenizer` where a token is not Unicode text; the error names `source`.
    """
    vocab: list[strict_json.JsonValue] = [list(pair) for pair in sorted(set(vocabulary))]
    pairs: list[strict_json.JsonValue] = [list(pair) for pair in merges]
    try:
        return Digest.of(_FORMAT + strict_json.compact({"merges": pairs, "vocab": vocab}))
    except UnicodeEncodeError as error:
        raise _malformed(source, f"a token is not Unicode text: {error.reason}") from error


def tokenizer_digest_of_file(path: Path) -> Digest:
    """Digest of a `tokenizer.json`.

    Raises:
        IntegrityError: `malformed-tokenizer`.
        CannotError: `unreadable-file`.
    """
    return _of_object(read_object(path, max_bytes=_MAX_TOKENIZER, code=_CODE), str(path))


def tokenizer_digest_of(tokenizer: Any) -> Digest:
    """Digest of a loaded fast tokenizer of transformers, as it is now: tokens added since it was loaded count.

    Raises:
        CannotError: `slow-tokenizer` for one that is not backed by the tokenizers library.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise CannotError(
            "slow-tokenizer",
            f"{type(tokenizer).__name__} is not a fast tokenizer",
            why="its vocabulary and merges cannot be read in one piece",
            next="load it with AutoTokenizer.from_pretrained(...)",
        )
    return _of_object(parse_object(backend.to_str(), source="the tokenizer", code=_CODE), "the tokenizer")


def gguf_tokenizer_digest(tokens: Sequence[str], types: Sequence[int], merges: Sequence[str], *, source: str) -> Digest:
    """Digest of the `gpt2` vocabulary in the metadata of a GGUF file.

    Args:
        tokens: `tokenizer.ggml.tokens`, by id.
        types: `tokenizer.ggml.token_type`, by id; may be empty.
        merges: `tokenizer.ggml.merges`.
        source: The file, for errors.

    Raises:
        IntegrityError: `malformed-tokenizer`.
    """
    if types and len(types) != len(tokens):
        raise _malformed(source, f"it has {len(tokens):,} tokens and {len(types):,} token types")
    unused = {number for number, kind in enumerate(types) if kind == _UNUSED and tokens[number] == f"[PAD{number}]"}
    vocabulary = (pair for pair in enumerate(tokens) if pair[0] not in unused)
    return tokenizer_digest(vocabulary, (_merge(merge, source) for merge in merges), source=source)


def template_digest(text: str) -> Digest:
    """Digest of a chat template. A loader may turn CRLF into LF while it reads, so line ends are made one first."""
    return Digest.of(text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "surrogatepass"))


def template_digest_of_folder(folder: Path) -> Digest | None:
    """Digest of a model folder's chat template: `chat_template.jinja`, else `chat_template` in `tokenizer_config.json`.

    Raises:
        IntegrityError: `malformed-tokenizer`.
        CannotError: `unreadable-file`.
    """
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return template_digest(_text(jinja))
    config = folder / "tokenizer_config.json"
    if not config.is_file():
        return None
    return _default(read_object(config, max_bytes=_MAX_CONFIG, code=_CODE).get("chat_template"))


def template_digest_of(tokenizer: Any) -> Digest | None:
    """Digest of the chat template that a loaded tokenizer uses; None where it has none."""
    return _default(tokenizer.chat_template)


def _default(template: Any) -> Digest | None:
    if isinstance(template, list):
        template = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
    if isinstance(template, dict):
        template = template.get("default")
    return template_digest(template) if isinstance(template, str) else None


def _text(path: Path) -> str:
    from patchpm.model.stored_tensor import reading

    with reading(path), path.open("rb") as file:
        data = file.read(_MAX_CONFIG + 1)
    if len(data) > _MAX_CONFIG:
        raise _malformed(str(path), f"it has more than {_MAX_CONFIG:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(str(path), "it is not UTF-8 text") from error


def _of_object(tokenizer: dict[str, strict_json.JsonValue], source: str) -> Digest:
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        raise _malformed(source, "it has no model")
    vocabulary = [*_vocabulary(model.get("vocab"), source), *_added(tokenizer.get("added_tokens"), source)]
    merges = model.get("merges") or []
    if not isinstance(merges, list):
        raise _malformed(source, "its merges are not a list")
    return tokenizer_digest(vocabulary, (_merge(merge, source) for merge in merges), source=source)


def _vocabulary(vocab: strict_json.JsonValue, source: str) -> Iterable[tuple[int, str]]:
    if isinstance(vocab, dict):  # BPE, WordPiece, WordLevel: token -> id
        for token, number in vocab.items():
            yield _pair(number, token, source)
    elif isinstance(vocab, list):  # Unigram: [token, score] by id
        for number, entry in enumerate(vocab):
            yield _pair(number, entry[0] if isinstance(entry, list) and entry else None, source)
    else:
        raise _malformed(source, "its vocabulary is neither an object nor a list")


def _added(tokens: strict_json.JsonValue, source: str) -> Iterable[tuple[int, str]]:
    if tokens is None:
        return
    if not isinstance(tokens, list):
        raise _malformed(source, "its added tokens are not a list")
    for token in tokens:
        if not isinstance(token, dict):
            raise _malformed(source, "an added token is not an object")
        yield _pair(token.get("id"), token.get("content"), source)


def _pair(number: strict_json.JsonValue, token: strict_json.JsonValue, source: str) -> tuple[int, str]:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0 or not isinstance(token, str):
        raise _malformed(source, f"{str(token)[:40]!r} with id {str(number)[:40]} is not a token")
    return number, token


def _merge(merge: strict_json.JsonValue, source: str) -> tuple[str, str]:
    # Two spellings exist: ["a", "b"] and, older and in GGUF, "a b"; the first character always belongs to "a".
    if isinstance(merge, str) and (cut := merge.find(" ", 1)) > 0:
        return merge[:cut], merge[cut + 1 :]
    if isinstance(merge, list) and len(merge) == 2:
        left, right = merge
        if isinstance(left, str) and isinstance(right, str):
            return left, right
    raise _malformed(source, f"{str(merge)[:80]!r} is not a merge of two tokens")


def _malformed(source: str, why: str) -> IntegrityError:
    return IntegrityError(_CODE, f"{source} does not hold a tokenizer that can be read", why=why)
