"""Exporting a large model: seconds, bytes written, peak memory.

    python benchmarks/export.py [--gb 20] [--folder DIR]

The model is a Llama of 32 layers in bfloat16 with 32,000 tokens. Embedding and head are random and lie in shards of
their own, as they often do in large models; all else is zeros in sparse files, so it costs no disk. It is exported in
a process of its own, with the other shards linked and with them copied, which writes them all, and deleted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WIDTH, LAYERS, VOCABULARY = 4096, 32, 32_000
SHARDS = 8


def config(rows: int, inner: int) -> dict[str, Any]:
    """`config.json` of a Llama whose layers are `inner` wide inside."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": inner,
        "num_hidden_layers": LAYERS, "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": rows,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "dtype": "bfloat16",
        "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip


def shapes(inner: int) -> list[dict[str, tuple[int, ...]]]:
    """Tensors by shard: embedding, head, then the layers."""
    layers: list[dict[str, tuple[int, ...]]] = [{} for _ in range(SHARDS)]
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        inside = layers[layer * SHARDS // LAYERS]
        for part in "qkvo":
            inside[f"{name}.self_attn.{part}_proj.weight"] = (WIDTH, WIDTH)
        for part, shape in (("gate", (inner, WIDTH)), ("up", (inner, WIDTH)), ("down", (WIDTH, inner))):
            inside[f"{name}.mlp.{part}_proj.weight"] = shape
        for part in ("input", "post_attention"):
            inside[f"{name}.{part}_layernorm.weight"] = (WIDTH,)
    layers[-1]["model.norm.weight"] = (WIDTH,)
    table = (VOCABULARY, WIDTH)
    return [{"model.embed_tokens.weight": table}, {"lm_head.weight": table}, *layers]


def write_shard(path: Path, tensors: dict[str, tuple[int, ...]]) -> int:
    """Write a shard, sparse but for embedding and head; give its size."""
    import numpy as np

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        if len(tensors) == 1:
            source = np.random.default_rng(0)
            for _ in range(VOCABULARY // 1000):
                numbers = source.standard_normal((1000, WIDTH), dtype=np.float32)
                file.write((numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes())
        file.truncate(8 + len(text) + end)
    return end


def write_model(folder: Path, gigabytes: float) -> int:
    """Write the model; give the bytes of its weights."""
    from tests.model import tiny

    folder.mkdir(parents=True)
    tables = 4 * VOCABULARY * WIDTH
    inner = int((gigabytes * 1e9 - tables) / (2 * LAYERS * 3 * WIDTH) - 4 * WIDTH / 3) // 64 * 64
    places: dict[str, str] = {}
    total = 0
    groups = shapes(inner)
    for number, tensors in enumerate(groups):
        name = f"model-{number + 1:05}-of-{len(groups):05}.safetensors"
        total += write_shard(folder / name, tensors)
        places |= dict.fromkeys(tensors, name)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config(VOCABULARY, inner)))
    tiny.tokenizer().save_pretrained(folder)
    return total


def export(base: Path, out: Path, *, link: bool) -> None:
    """Export two patches of 50 tokens, in this process, and print what it took."""
    import torch

    from patchpm.export.hf_folder import export_hf
    from patchpm.export.tokenizer_files import load_tokenizer
    from patchpm.model.loaded import LoadedPatch, PatchSet
    from patchpm.model.tokenizer_digest import template_digest_of, tokenizer_digest_of
    from patchpm.patch.digest import Digest
    from patchpm.patch.fingerprint import BaseModel, Fingerprint
    from patchpm.patch.name import PatchName
    from patchpm.patch.version import Version

    tokenizer = load_tokenizer(base)
    # Hashing 20 GB is not what is measured: a project has done it before.
    digest = Digest.of(b"a base")
    tokens, template = tokenizer_digest_of(tokenizer), template_digest_of(tokenizer)
    named = BaseModel("large", digest, None, (), (), tokens, template, WIDTH)
    patches = tuple(
        LoadedPatch(
            PatchName.parse(f"bench/{name}"), Version.parse("1.0.0"), Digest.of(name.encode()),
            torch.randn(50, WIDTH), ("system-start",), "", named,
        )
        for name in ("one", "two")
    )  # fmt: skip
    started = time.monotonic()
    before, processor = _peak(), time.process_time()
    made = export_hf(
        base, PatchSet("system-start", patches), Fingerprint(digest, None, tokens, template, WIDTH), out, link=link
    )
    print(
        json.dumps(
            {
                "seconds": time.monotonic() - started,
                "processor": time.process_time() - processor,
                "before": before,
                "peak": _peak(),
                "written": made.written,
                "linked": made.linked,
                "ways": {str(way): count for way, count in made.ways},
            }
        )
    )


def _peak() -> int:
    """Most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Make the model, export it both ways, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=20)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ways", default="linked,copied")
    parser.add_argument("--export", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.export:
        base, out, way = given.export
        export(Path(base), Path(out), link=way == "linked")
        return
    scratch = Path(tempfile.mkdtemp(prefix="export-", dir=given.folder))
    try:
        total = write_model(scratch / "base", given.gb)
        largest = max(path.stat().st_size for path in (scratch / "base").glob("*.safetensors"))
        disk = sum(path.stat().st_blocks for path in (scratch / "base").iterdir()) * 512
        print(f"base: {total / 1e9:.2f} GB, largest shard {largest / 1e9:.2f} GB, on disk {disk / 1e9:.2f} GB")
        print("| shards | seconds | processor s | written MB | share | linked GB | peak MiB | of that the export's |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for way in given.ways.split(","):
            command = [sys.executable, __file__, "--export", str(scratch / "base"), str(scratch / way), way]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
            row = json.loads(re.findall(r"^\{.*\}$", done.stdout, re.MULTILINE)[-1])
            print(
                f"| {way} {row['ways']} | {row['seconds']:.1f} | {row['processor']:.1f} | {row['written'] / 1e6:,.0f} "
                f"| {row['written'] / total:.2%} | {row['linked'] / 1e9:.2f} | {row['peak'] / 2**20:,.0f} "
                f"| {(row['peak'] - row['before']) / 2**20:,.0f} |",
                flush=True,
            )
            shutil.rmtree(scratch / way)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
