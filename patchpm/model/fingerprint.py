"""Measuring a base model on disk: which weights and which tokenizer are these?

    found = fingerprint("models/SmolLM2-135M-Instruct", cache=HashCache.of_user())
    found.fingerprint.tensors, found.assurance

The digests are defined in `weights_digest` and `tokenizer_digest`. They say nothing about `config.json`: the same
weights under another configuration (another rope base, fewer layers) have the same fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from patchpm.errors import CannotError, IntegrityError
from patchpm.model import hub_cache
from patchpm.model.gguf_file import GgufHeader, read_gguf
from patchpm.model.hash_cache import HashCache, state_of
from patchpm.model.safetensors_folder import ModelFolder
from patchpm.model.stored_tensor import Progress, StoredTensor, hash_tensors
from patchpm.model.tokenizer_digest import (
    gguf_tokenizer_digest,
    template_digest,
    template_digest_of_folder,
    tokenizer_digest_of_file,
)
from patchpm.model.weights_digest import bf16_digest, tensors_digest
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import Assurance, Fingerprint
from patchpm.patch.strict_json import JsonValue

Kind = Literal["safetensors", "gguf"]
"""Format of the weights."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A fingerprint and how it came to be known."""

    fingerprint: Fingerprint
    """Its `files` are filled in only for a snapshot of the Hub's cache, with what the Hub says; they are not hashed."""
    assurance: Assurance
    kind: Kind
    source: Path
    """The folder or file that was measured, with `hf:` names resolved."""
    hashed: int
    """Bytes of weights that were hashed now; 0 where the cache knew them."""


@dataclass(frozen=True, slots=True)
class _Recall:
    """Asks the cache before it computes."""

    cache: HashCache | None
    rehash: bool
    progress: Progress | None

    def weights(self, tensors: tuple[StoredTensor, ...], *, bf16: bool) -> dict[str, JsonValue]:
        hashed = hash_tensors(tensors, bf16=bf16, progress=self.progress)
        size = sum(tensor.size for tensor in tensors)
        digests: dict[str, JsonValue] = {"tensors": str(tensors_digest(hashed)), "size": size}
        return digests | {"bf16": str(bf16_digest(hashed))} if bf16 else digests

    def __call__(
        self, kind: str, files: tuple[Path, ...], compute: Callable[[], dict[str, JsonValue]]
    ) -> tuple[dict[str, JsonValue], bool]:
        """Give the record of `files` and whether it was computed now."""
        state = state_of(files)
        if self.cache is None:
            record = compute()
        else:
            known = None if self.rehash else self.cache.get(kind, state)
            if known is not None:
                return known, False
            began = self.cache.now()
            record = compute()
        if state_of(files) != state:
            raise IntegrityError(
                "files-changed",
                f"{files[0].parent} changed while it was read",
                why="another program wrote to it, so what was hashed is neither the old model nor the new one",
                next="run this again when the other program is done",
            )
        if self.cache is not None:
            self.cache.put(kind, state, record, began)
        return record, True


def fingerprint(
    path: Path | str, *, cache: HashCache | None = None, rehash: bool = False, progress: Progress | None = None
) -> Measured:
    """Measure a model: hash its weights, or take what is known of unchanged files from `cache`.

    Args:
        path: A folder with `model.safetensors` or its shards and their index, a `.gguf` file, or
            `hf:org/name[@revision]`, which is looked up in the Hub's local cache.
        cache: Where to look and to note what was hashed; None to always hash.
        rehash: Hash even what the cache knows, so that the assurance is `verified`.
        progress: Told of bytes hashed and bytes in all, about ten times a second.

    Raises:
        CannotError: `model-not-found`, `no-weights`, `pickled-weights`, `ambiguous-weights`, `adapter-in-folder`,
            `no-config`, `split-gguf`, `not-in-hub-cache`, `unreadable-file`, `numpy-missing`.
        IntegrityError: `truncated-weights`, `malformed-safetensors`, `malformed-index`, `shard-missing`,
            `malformed-gguf`, `malformed-config`, `malformed-tokenizer`, `malformed-hub-cache`, `files-changed`.
        UsageError: `invalid-hub-name`.
    """
    source = hub_cache.locate(path)
    recall = _Recall(cache, rehash, progress)
    if source.is_dir():
        return _measure_folder(source, recall)
    if source.is_file() and source.suffix.lower() == ".gguf":
        return _measure_gguf(source, recall)
    raise _not_found(source)


def declared(path: Path | str, *, cache: HashCache | None = None) -> Fingerprint:
    """Say what the Hub's local cache claims a snapshot is, without hashing weights; assurance `declared`.

    Args:
        path: A snapshot's folder, or `hf:org/name[@revision]`.
        cache: Knows the tokenizer's digest, if it was seen before; else the tokenizer's file is read.

    Returns:
        A fingerprint with `files` and without digests of the weights.

    Raises:
        CannotError: As for `fingerprint`, and `not-declared` where the Hub's cache has no record.
        IntegrityError: As for `fingerprint`, where a file has another size than the record says.
        UsageError: `invalid-hub-name`.
    """
    source = hub_cache.locate(path)
    if not source.is_dir():
        raise _not_found(source)
    if not hub_cache.is_snapshot(source):
        raise CannotError(
            "not-declared",
            f"{source} is not a snapshot in the Hub's cache, so nobody declares what it holds",
            next="hash it instead: patchpm fingerprint PATH",
        )
    folder = ModelFolder(source)
    files = hub_cache.declared_files(source, folder.shards)
    tokenizer, _ = _tokenizer(source, _Recall(cache, rehash=False, progress=None))
    return Fingerprint(None, None, tokenizer, template_digest_of_folder(source), folder.hidden_size(), files)


def _measure_folder(source: Path, recall: _Recall) -> Measured:
    folder = ModelFolder(source)
    width = folder.hidden_size()
    record, fresh = recall("safetensors", folder.files, lambda: recall.weights(folder.tensors(), bf16=True))
    tokenizer, tokenizer_fresh = _tokenizer(source, recall)
    files: tuple[tuple[str, Digest], ...] = ()
    if hub_cache.is_snapshot(source):
        files = hub_cache.declared_files(source, folder.shards, missing_ok=True)
    return Measured(
        Fingerprint(
            _digest(record, "tensors"),
            _digest(record, "bf16"),
            tokenizer,
            template_digest_of_folder(source),
            width,
            files,
        ),
        Assurance.VERIFIED if fresh and tokenizer_fresh else Assurance.CACHED,
        "safetensors",
        source,
        _size(record) if fresh else 0,
    )


def _tokenizer(source: Path, recall: _Recall) -> tuple[Digest | None, bool]:
    path = source / "tokenizer.json"
    if not path.is_file():
        return None, True
    record, fresh = recall("tokenizer", (path,), lambda: {"tokenizer": str(tokenizer_digest_of_file(path))})
    return _digest(record, "tokenizer"), fresh


def _measure_gguf(source: Path, recall: _Recall) -> Measured:
    def compute() -> dict[str, JsonValue]:
        header = read_gguf(source)
        if not header.tensors:
            raise CannotError("no-weights", f"{source} holds no tensor at all", next="name a GGUF file with weights")
        template = header.text("tokenizer.chat_template")
        return {
            "hidden_size": header.hidden_size(),
            "tokenizer": _text(tokenizer_digest_of_gguf(header)),
            "template": _text(None if template is None else template_digest(template)),
            **recall.weights(header.tensors, bf16=False),
        }

    record, fresh = recall("gguf", (source,), compute)
    width = record.get("hidden_size")
    return Measured(
        Fingerprint(
            tensors=_digest(record, "tensors"),
            bf16=None,
            tokenizer=_digest(record, "tokenizer"),
            template=_digest(record, "template"),
            hidden_size=width if isinstance(width, int) else 0,
        ),
        Assurance.VERIFIED if fresh else Assurance.CACHED,
        "gguf",
        source,
        _size(record) if fresh else 0,
    )


def tokenizer_digest_of_gguf(header: GgufHeader) -> Digest | None:
    """Of the tokenizer in a GGUF file; None where its kind of vocabulary has no digest."""
    if header.text("tokenizer.ggml.model") != "gpt2":
        return None
    return gguf_tokenizer_digest(
        header.texts("tokenizer.ggml.tokens"),
        header.integers("tokenizer.ggml.token_type"),
        header.texts("tokenizer.ggml.merges"),
        source=str(header.path),
    )


def _digest(record: dict[str, JsonValue], key: str) -> Digest | None:
    value = record.get(key)
    return Digest.parse(value) if isinstance(value, str) else None


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)


def _size(record: dict[str, JsonValue]) -> int:
    size = record.get("size")
    return size if isinstance(size, int) else 0


def _not_found(source: Path) -> CannotError:
    if source.exists():
        return CannotError(
            "no-weights",
            f"{source} is not a model",
            why="it is a file, and only .gguf files are models by themselves",
            next="name the folder that holds the weights, or a .gguf file",
        )
    return CannotError(
        "model-not-found", f"there is no {source}", next="name a model's folder, a .gguf file or hf:org/name"
    )
