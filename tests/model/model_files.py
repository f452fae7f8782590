"""Builders: small models on disk, in every form a fingerprint is taken of, and files that no reader should take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]
WIDTH = 8


def tensors(dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensors:
    """Four random tensors of a model `WIDTH` wide, of numbers that are exact in bfloat16 and so in any wider copy."""
    source = torch.Generator().manual_seed(seed)
    shapes = {"model.embed_tokens.weight": (16, WIDTH), "model.norm.weight": (WIDTH,), "b": (3, 2, 4), "a": ()}
    return {name: torch.randn(shape, generator=source).bfloat16().to(dtype) for name, shape in shapes.items()}


def folder(path: Path, weights: Tensors, *, shards: int = 1, metadata: dict[str, str] | None = None) -> Path:
    """Write a model folder with the weights in `shards` files, dealt out in turn."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"hidden_size": WIDTH, "time_step_limit": [0.0, float("inf")]}))
    if shards == 1:
        save_file(weights, path / "model.safetensors", metadata)
        return path
    names = [f"model-{number + 1:05}-of-{shards:05}.safetensors" for number in range(shards)]
    placed = {name: names[number % shards] for number, name in enumerate(weights)}
    for shard in names:
        save_file({name: weights[name] for name in weights if placed[name] == shard}, path / shard, metadata)
    write_index(path, placed)
    return path


def write_index(path: Path, weight_map: Any) -> None:
    """Write the list of shards."""
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def entry(dtype: str, shape: list[Any], begin: int, end: int) -> dict[str, Any]:
    """One tensor in a safetensors header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def raw_folder(path: Path, header: dict[str, Any] | bytes, data: bytes = b"", *, claimed: int | None = None) -> Path:
    """Write a folder whose safetensors file has this header and data; `claimed` is the header's length as told."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"hidden_size": WIDTH}))
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = (len(text) if claimed is None else claimed).to_bytes(8, "little")
    (path / "model.safetensors").write_bytes(length + text + data)
    return path


def gguf_file(path: Path, *, seed: int = 0, quantised: bool = True, **metadata: Any) -> Path:
    """Write a tiny GGUF file with the package `gguf`: one Q8_0 tensor and two of F32.

    Args:
        path: Of the file.
        seed: For the numbers.
        quantised: Store the embedding as Q8_0.
        metadata: `tokens`, `types`, `merges`, `template`, `model`, `alignment`, `width`; a default where not given.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_embedding_length(metadata.get("width", 32))
    if "alignment" in metadata:
        writer.add_custom_alignment(metadata["alignment"])
    writer.add_string("general.name", "a name that nobody reads")
    writer.add_array("general.languages", ["en", "de"])
    writer.add_array("some.numbers", [1, 2, 3])
    if metadata.get("model", "gpt2"):
        writer.add_tokenizer_model(metadata.get("model", "gpt2"))
        writer.add_token_list(metadata.get("tokens", ["a", "b", "ab"]))
        if "types" in metadata:
            writer.add_token_types(metadata["types"])
        writer.add_token_merges(metadata.get("merges", ["a b"]))
    if metadata.get("template"):
        writer.add_chat_template(metadata["template"])
    numbers = np.random.default_rng(seed)
    embedding = numbers.standard_normal((3, 32), dtype=np.float32)
    if quantised:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor("token_embd.weight", gguf.quants.quantize(embedding, kind), raw_dtype=kind)
    else:
        writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", numbers.standard_normal(5, dtype=np.float32))
    writer.add_tensor("blk.0.attn_norm.weight", numbers.standard_normal(32, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
