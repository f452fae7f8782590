"""A GGUF file with a patch set in it, told as pieces of the stock file.

What changes: the vocabulary gains a token for each row, the embedding the rows, the chat template emits the tokens at
the anchor, and engines are told never to sample them, by `tokenizer.ggml.suppress_tokens` and, where the model has a
head of its own, by rows that it never chooses. All other metadata and all other tensors are copied.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

from patchpm.errors import CannotError, UsageError
from patchpm.export import gguf_values as values
from patchpm.export.gguf_head import silent_piece
from patchpm.export.placed_set import PlacedSet
from patchpm.export.splice import Copy, Literal, Piece, Requantised, joined, numbers_of
from patchpm.model.ggml_types import GGML_TYPES
from patchpm.model.gguf_file import GgufEntry, GgufHeader, malformed_gguf
from patchpm.model.stored_tensor import StoredTensor
from patchpm.patch.digest import Digest

EMBEDDING: Final = "token_embd.weight"
HEAD: Final = "output.weight"
TEMPLATE: Final = "tokenizer.chat_template"
_TOKENS: Final = "tokenizer.ggml.tokens"
_TYPES: Final = "tokenizer.ggml.token_type"
_SCORES: Final = "tokenizer.ggml.scores"
_SUPPRESSED: Final = "tokenizer.ggml.suppress_tokens"
_NORMAL, _CONTROL, _UNUSED = 1, 3, 5
_PRECISE: Final = ("F32", "F16", "BF16", "Q8_0")
"""Number types that keep the rows of a patch as they are, or nearly; an embedding of any other becomes Q8_0."""
_NUMBERS: Final = {kind.name: number for number, kind in GGML_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the patched file says of itself, under keys that start with `patchpm.`."""

    base: Digest
    """Of the stock file's tensors."""

    def entries(self, placed: PlacedSet) -> list[bytes]:
        """The metadata, encoded."""
        patches = [f"{patch.name} {patch.version}" for patch in placed.patches.patches]
        return [
            values.text_entry("patchpm.set", str(placed.patches.digest)),
            values.texts_head("patchpm.patches", len(patches)) + b"".join(map(values.text, patches)),
            values.number_entry("patchpm.tokens", placed.patches.tokens),
            values.text_entry("patchpm.base", str(self.base)),
        ]


def chat_templates(header: GgufHeader) -> str | dict[str, str] | None:
    """The chat template of a GGUF file, or several by name: engines take `tool_use` where a client sends tools.

    Raises:
        IntegrityError: `malformed-gguf`.
    """
    odd = {f"{TEMPLATE}.", f"{TEMPLATE}.default"} & header.metadata.keys()
    if odd:
        raise malformed_gguf(header.path, f"{odd.pop()} is no name of a template: the default one has none")
    named = {
        key.removeprefix(TEMPLATE).removeprefix(".") or "default": header.text(key) or ""
        for key in header.metadata
        if key == TEMPLATE or key.startswith(TEMPLATE + ".")
    }
    return named.get("default") if len(named) < 2 else named


def patched_pieces(header: GgufHeader, placed: PlacedSet, provenance: Provenance, *, untie: bool) -> tuple[Piece, ...]:
    """The patched file.

    Args:
        header: Of the stock file.
        placed: The set, placed in this file's tokenizer and chat template.
        provenance: What the file is to say of itself.
        untie: Give a model whose head is its embedding a head of its own, for engines that ignore the list of tokens
            not to sample.

    Raises:
        UsageError: `already-patched`.
        IntegrityError: `malformed-gguf`.
        CannotError: `model-unsupported`, `type-unsupported`, `unreadable-file`.
    """
    if any(key.startswith("patchpm.") for key in header.metadata):
        raise UsageError(
            "already-patched",
            f"{header.path} holds patches already",
            why="a second set would stand beside the first, in an order that nobody measured",
            next="start from the stock file",
        )
    _refuse_scaled(header)
    vocabulary = _Vocabulary.of(header, placed)
    tensors = _tensors(header, vocabulary, untie=untie)
    entries = _entries(header, vocabulary, provenance)
    counts = struct.pack("<IQQ", header.version, len(tensors), len(entries))
    start: list[Piece] = [Literal(b"GGUF" + counts), *(piece for entry in entries for piece in entry)]
    start.append(Literal(_infos(tensors, header.alignment)))
    start.append(_padding(sum(piece.written for piece in start), header.alignment))
    data = (piece for tensor in tensors for piece in (*tensor.pieces, _padding(tensor.size, header.alignment)))
    return joined((*start, *data))


@dataclass(frozen=True)
class _Vocabulary:
    """The tokens of the stock file, and those that come in."""

    tokens: list[str]
    placed: PlacedSet

    @classmethod
    def of(cls, header: GgufHeader, placed: PlacedSet) -> _Vocabulary:
        tokens, types = header.texts(_TOKENS), header.integers(_TYPES)
        taken = range(placed.first, min(placed.end, len(tokens)))
        if placed.first > len(tokens) or not all(is_spare(tokens, types, number) for number in taken):
            raise malformed_gguf(header.path, f"the id {placed.first:,} of its vocabulary is not free")
        return cls(tokens, placed)

    @property
    def size(self) -> int:
        """Tokens of the patched file."""
        return max(len(self.tokens), self.placed.end)


def _refuse_scaled(header: GgufHeader) -> None:
    """Refuse models that multiply what they look up: the rows of patches would be multiplied with it."""
    kind = header.text("general.architecture") or ""
    scale = header.metadata.get(f"{kind}.embedding_scale", 1.0)
    if kind.startswith(("gemma", "minicpm", "grok")) or scale not in (0.0, 1.0):
        raise CannotError(
            "model-unsupported",
            f"{header.path} holds a {kind} model, which scales its embedding",
            why="patches are trained behind that scale, and nothing has shown yet how llama.cpp applies it",
            next="serve the safetensors folder instead, with vLLM or transformers",
        )


def is_spare(tokens: Sequence[str], types: Sequence[int], number: int) -> bool:
    """Whether an id fills up the vocabulary only: converters name it `[PAD<id>]` and say that it is unused."""
    return bool(types) and types[number] == _UNUSED and tokens[number] == f"[PAD{number}]"


def _entries(header: GgufHeader, vocabulary: _Vocabulary, provenance: Provenance) -> list[Sequence[Piece]]:
    """The metadata: changed where it speaks of the vocabulary or holds the template, else copied."""
    placed = vocabulary.placed
    count = len(placed.names)
    changed: dict[str, Sequence[Piece]] = dict(_templates(placed))
    size_key = f"{header.text('general.architecture')}.vocab_size"
    changed[size_key] = [Literal(values.number_entry(size_key, vocabulary.size))]
    new: dict[str, Sequence[Piece]] = {}
    entries = {entry.key: entry for entry in header.entries}
    changed[_TOKENS] = _with_names(entries[_TOKENS], vocabulary)
    kinds = values.numbers(values.INT32, [_CONTROL] * count)
    if _TYPES in entries:
        changed[_TYPES] = _with_numbers(header, entries[_TYPES], vocabulary, kinds)
    else:
        before = values.numbers(values.INT32, [_NORMAL] * len(vocabulary.tokens))
        new[_TYPES] = [Literal(values.numbers_head(_TYPES, values.INT32, vocabulary.size) + before + kinds)]
    if _SCORES in entries:
        scores = values.numbers(values.FLOAT32, [0.0] * count)
        changed[_SCORES] = _with_numbers(header, entries[_SCORES], vocabulary, scores)
    suppressed = [*header.integers(_SUPPRESSED), *range(placed.first, placed.end)]
    new[_SUPPRESSED] = [
        Literal(
            values.numbers_head(_SUPPRESSED, values.INT32, len(suppressed)) + values.numbers(values.INT32, suppressed)
        )
    ]
    kept = [
        changed.get(entry.key, [Copy(entry.offset, entry.size)]) for entry in header.entries if entry.key not in new
    ]
    return [*kept, *new.values(), *([Literal(entry)] for entry in provenance.entries(placed))]


def _templates(placed: PlacedSet) -> Iterator[tuple[str, Sequence[Piece]]]:
    templates = placed.placement.template
    for name, template in ({"default": templates} if isinstance(templates, str) else templates).items():
        key = TEMPLATE if name == "default" else f"{TEMPLATE}.{name}"
        yield key, [Literal(values.text_entry(key, template))]


def _with_names(entry: GgufEntry, vocabulary: _Vocabulary) -> list[Piece]:
    """The list of tokens with the names of the new ones."""
    tokens, placed = vocabulary.tokens, vocabulary.placed
    head = values.texts_head(entry.key, vocabulary.size)
    widths = [8 + len(token.encode()) for token in tokens]
    start = entry.offset + len(head)
    before, taken = sum(widths[: placed.first]), sum(widths[placed.first : placed.end])
    return [
        Literal(head),
        Copy(start, before),
        Literal(b"".join(map(values.text, placed.names))),
        Copy(start + before + taken, entry.size - len(head) - before - taken),
    ]


def _with_numbers(header: GgufHeader, entry: GgufEntry, vocabulary: _Vocabulary, new: bytes) -> list[Piece]:
    """A list of one number of 32 bits a token, with those of the new tokens."""
    placed, count = vocabulary.placed, len(vocabulary.tokens)
    own = len(values.text(entry.key)) + 8
    start = entry.offset + own + 8
    if entry.size != own + 8 + 4 * count:
        raise malformed_gguf(header.path, f"{entry.key} has not one number of 32 bits a token")
    return [
        Copy(entry.offset, own),
        Literal(struct.pack("<Q", vocabulary.size)),
        Copy(start, 4 * placed.first),
        Literal(new),
        Copy(start + 4 * placed.end, 4 * max(0, count - placed.end)),
    ]


@dataclass(frozen=True)
class _Tensor:
    """One tensor of the patched file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        return sum(piece.written for piece in self.pieces)


def _tensors(header: GgufHeader, vocabulary: _Vocabulary, *, untie: bool) -> list[_Tensor]:
    stock = {tensor.name: tensor for tensor in header.tensors}
    count = len(vocabulary.tokens)
    embedding = stock.get(EMBEDDING)
    if embedding is None or embedding.shape != (vocabulary.placed.rows.shape[1], count):
        raise malformed_gguf(header.path, f"{EMBEDDING} is not one row a token, as wide as the patches")
    made = []
    for tensor in header.tensors:
        if tensor is embedding:
            made.append(_embedding(tensor, vocabulary))
        elif tensor.name in (HEAD, "output.bias") and tensor.shape[-1] == count:
            made.append(_head(tensor, vocabulary))
        elif tensor.shape[-1] == count and not tensor.name.startswith("blk."):
            raise CannotError(
                "model-unsupported",
                f"{header.path} cannot be patched",
                why=f"{tensor.name} has a row for each token, and patchpm does not know what a new token has there",
                next="apply the patches in Python with patchpm.apply",
            )
        else:
            made.append(_Tensor(tensor.name, tensor.dtype, tensor.shape, (Copy(tensor.offset, tensor.size),)))
    if untie and HEAD not in stock:
        own = StoredTensor(HEAD, embedding.dtype, embedding.shape, header.path, embedding.offset, embedding.size)
        made.append(_head(own, vocabulary))
    return made


def _embedding(tensor: StoredTensor, vocabulary: _Vocabulary) -> _Tensor:
    dtype = tensor.dtype if tensor.dtype in _PRECISE else "Q8_0"
    rows = Literal(_encoded(vocabulary.placed, dtype))
    return _grown(tensor, vocabulary, dtype, [rows])


def _head(tensor: StoredTensor, vocabulary: _Vocabulary) -> _Tensor:
    row = silent_piece(tensor, min(vocabulary.placed.first, len(vocabulary.tokens)))
    return _grown(tensor, vocabulary, tensor.dtype, repeat(row, len(vocabulary.placed.names)))


def _grown(tensor: StoredTensor, vocabulary: _Vocabulary, dtype: str, rows: Iterable[Piece]) -> _Tensor:
    """A tensor of one row a token, with the rows of the new tokens in their places."""
    width = tensor.size // len(vocabulary.tokens)
    first, end = vocabulary.placed.first * width, min(vocabulary.placed.end * width, tensor.size)

    def own(begin: int, stop: int) -> Piece:
        if dtype == tensor.dtype:
            return Copy(tensor.offset + begin, stop - begin)
        return Requantised(tensor.offset + begin, stop - begin, tensor.dtype)

    pieces = (own(0, first), *rows, own(end, tensor.size))
    return _Tensor(tensor.name, dtype, (*tensor.shape[:-1], vocabulary.size), pieces)


def _encoded(placed: PlacedSet, dtype: str) -> bytes:
    """The rows of the set in a number type."""
    import numpy as np
    from gguf import GGMLQuantizationType, quants

    data: bytes = quants.quantize(placed.rows.numpy(), GGMLQuantizationType[dtype]).tobytes()
    if not np.isfinite(numbers_of(data, dtype)).all():
        raise CannotError(
            "rows-too-large",
            f"a patch does not fit into the numbers of this file, {dtype}",
            next="start from a GGUF file whose token_embd.weight has another type",
        )
    return data


def _infos(tensors: Iterable[_Tensor], alignment: int) -> bytes:
    infos, offset = [], 0
    for tensor in tensors:
        shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        infos.append(values.text(tensor.name) + shape + struct.pack("<IQ", _NUMBERS[tensor.dtype], offset))
        offset += tensor.size + -tensor.size % alignment
    return b"".join(infos)


def _padding(size: int, alignment: int) -> Literal:
    return Literal(bytes(-size % alignment))
