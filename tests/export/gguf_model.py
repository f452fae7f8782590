"""Tiny GGUF files that are real models: a Llama of `tests.model.tiny` with its tokenizer, in any number type."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from patchpm.export.patched_gguf import PatchedGguf, place_in_gguf, write_patched_gguf
from patchpm.model.causal_lm import backend_of
from patchpm.model.fingerprint import fingerprint
from patchpm.model.loaded import LoadedPatch, PatchSet
from patchpm.patch.fingerprint import BaseModel
from tests.model import tiny

_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
HEADS, KV_HEADS = 4, 2


@dataclass(frozen=True)
class Shape:
    """What a file is like."""

    tied: bool = True
    embedding: str = "F32"
    head: str = "F32"
    padded: int = 0
    templates: dict[str, str] = field(default_factory=lambda: {"": tiny.CHATML})
    types: bool = True
    scores: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    """More tensors."""
    architecture: str = "llama"
    suppressed: tuple[int, ...] = ()


def write(path: Path, shape: Shape | None = None) -> Path:
    """Write the model."""
    shape = shape or Shape()
    model, tokenizer = tiny.llama(tied=shape.tied, padded=shape.padded), tiny.tokenizer()
    writer = gguf.GGUFWriter(path, shape.architecture)
    config = model.config
    writer.add_name("tiny")
    writer.add_context_length(512)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // HEADS)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, tokenizer, shape)
    for name, tensor in model.state_dict().items():
        if not (shape.tied and name == "lm_head.weight"):
            _add_tensor(writer, _gguf_name(name), _gguf_layout(name, tensor), shape)
    for name, value in shape.extra.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any, tokenizer: Any, shape: Shape) -> None:
    backend = backend_of(tokenizer)
    tokens = [str(backend.id_to_token(number)) for number in range(len(tokenizer))]
    kinds = [3 if token in tiny.SPECIALS else 1 for token in tokens]
    tokens += [f"[PAD{number}]" for number in range(len(tokens), len(tokens) + shape.padded)]
    kinds += [5] * shape.padded
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    if shape.types:
        writer.add_token_types(kinds)
    if shape.scores:
        writer.add_token_scores([-float(number) for number in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in json.loads(backend.to_str())["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    if shape.suppressed:
        writer.add_array("tokenizer.ggml.suppress_tokens", list(shape.suppressed))
    for name, template in shape.templates.items():
        writer.add_string("tokenizer.chat_template" + (f".{name}" if name else ""), template)


def _add_tensor(writer: Any, name: str, tensor: torch.Tensor, shape: Shape) -> None:
    kind = {"token_embd.weight": shape.embedding, "output.weight": shape.head}.get(name, "F32")
    dtype = gguf.GGMLQuantizationType[kind]
    writer.add_tensor(name, gguf.quants.quantize(tensor.float().numpy(), dtype), raw_dtype=dtype)


def _gguf_name(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_NAMES[rest.removesuffix('.weight')]}.weight"


def _gguf_layout(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Queries and keys in the order of ggml's rotary embedding."""
    heads = HEADS if "q_proj" in name else KV_HEADS if "k_proj" in name else 0
    if not heads:
        return tensor
    return tensor.view(heads, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)


def base_of(path: Path) -> BaseModel:
    """The base that a patch made for this file names."""
    found = fingerprint(path).fingerprint
    assert found.tensors is not None
    return BaseModel("tiny", found.tensors, None, (), (), found.tokenizer, found.template, found.hidden_size)


def patch_set(path: Path, *patches: LoadedPatch) -> PatchSet:
    """One patch for this file, or those given."""
    return PatchSet("system-start", patches or (tiny.patch(base_of(path)),))


@dataclass(frozen=True, eq=False)
class Patched:
    """A stock file, and what an export made of it."""

    stock: Path
    path: Path
    patches: PatchSet
    made: PatchedGguf
    names: tuple[str, ...]
    first: int
    proofs: tuple[Any, ...]


def patched(folder: Path, shape: Shape | None = None, *patches: LoadedPatch, **options: Any) -> Patched:
    """Write a file and its patched copy."""
    stock = write(folder / "stock.gguf", shape)
    placed = patch_set(stock, *patches)
    place = place_in_gguf(stock, placed)
    made = write_patched_gguf(place, folder / "patched.gguf", base_of(stock).tensors, **options)
    found = place.placed
    return Patched(stock, folder / "patched.gguf", placed, made, found.names, found.first, found.placement.proofs)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata and tensors, as the package `gguf` reads them."""
    reader = gguf.GGUFReader(path)
    metadata = {name: entry.contents() for name, entry in reader.fields.items() if not name.startswith("GGUF.")}
    return metadata, {str(tensor.name): tensor for tensor in reader.tensors}


def numbers(tensor: Any) -> Any:
    """A tensor as float32, `(rows, width)`."""
    return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
