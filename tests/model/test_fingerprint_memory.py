"""A loaded model has the fingerprint of the folder it would be saved to; and hashing needs little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from patchpm.errors import CannotError
from patchpm.model.fingerprint import fingerprint
from patchpm.model.memory import fingerprint_of_model
from tests.model import tiny


def _saved(model: nn.Module, path: Path, **options: Any) -> Path:
    cast("Any", model).save_pretrained(path, **options)
    tiny.tokenizer().save_pretrained(path)
    return path


def _mixtral() -> nn.Module:
    """A mixture of experts: transformers holds the experts fused in memory and writes them one by one."""
    from transformers import MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    config = MixtralConfig(
        hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=50, num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    return cast("Any", MixtralForCausalLM(config)).eval()  # type: ignore[no-any-return]


MODELS = {
    "tied": tiny.llama,
    "untied": lambda: tiny.llama(tied=False),
    "padded": lambda: tiny.llama(padded=7),
    "gpt2": tiny.gpt2,
    "bf16": lambda: tiny.llama().bfloat16(),
    "fp16": lambda: tiny.llama(tied=False).half(),
    "fp64": lambda: tiny.llama().double(),
    "experts": _mixtral,
}


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_has_the_fingerprint_of_its_saved_folder(tmp_path: Path, name: str) -> None:
    model = MODELS[name]()
    assert fingerprint_of_model(model, tiny.tokenizer()) == fingerprint(_saved(model, tmp_path / "m")).fingerprint


def test_a_model_that_was_loaded_from_shards_has_their_fingerprint(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = _saved(_mixtral(), tmp_path / "m", max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    found, loaded = fingerprint(folder).fingerprint, AutoModelForCausalLM.from_pretrained(folder)
    assert (fingerprint_of_model(loaded).tensors, fingerprint_of_model(loaded).bf16) == (found.tensors, found.bf16)


@pytest.mark.parametrize(
    ("stored", "loaded"), [("float32", "bfloat16"), ("bfloat16", "float32"), ("float64", "bfloat16")]
)
def test_a_model_loaded_in_another_precision_keeps_its_bf16_digest(tmp_path: Path, stored: str, loaded: str) -> None:
    from transformers import AutoModelForCausalLM

    folder = _saved(tiny.llama().to(getattr(torch, stored)), tmp_path / "m")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, loaded))
    found, inside = fingerprint(folder).fingerprint, fingerprint_of_model(model)
    assert inside.bf16 == found.bf16
    assert inside.tensors != found.tensors


def test_one_flipped_bit_in_memory_is_noticed() -> None:
    model = tiny.llama()
    before = fingerprint_of_model(model)
    weight = cast("torch.Tensor", model.get_parameter("model.layers.1.mlp.up_proj.weight"))
    weight.data.view(torch.int32)[0, 0] ^= 1
    after = fingerprint_of_model(model)
    assert after.tensors != before.tensors
    weight.data.view(torch.int32)[0, 0] ^= 1
    assert fingerprint_of_model(model) == before


def test_hashing_leaves_the_model_as_it_is() -> None:
    model = cast("Any", tiny.llama())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fingerprint_of_model(model)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_model_that_is_not_in_memory_is_refused() -> None:
    with pytest.raises(CannotError) as caught:
        fingerprint_of_model(tiny.llama().to("meta"))
    assert caught.value.code == "model-offloaded"


def test_a_quantised_model_is_refused() -> None:
    model = cast("Any", tiny.llama())
    model.hf_quantizer = object()
    with pytest.raises(CannotError) as caught:
        fingerprint_of_model(model)
    assert caught.value.code == "model-quantised"


def test_no_tensor_is_ever_whole_in_memory(tmp_path: Path) -> None:
    """One tensor of 256 MiB, most of it a hole in the file, hashed and rounded by a fresh process."""
    size = 256 * 2**20
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    (tmp_path / "config.json").write_text('{"hidden_size": 8}')
    code = (
        "import resource, sys, numpy; from patchpm.model.fingerprint import fingerprint\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "calls = []\n"
        "found = fingerprint(sys.argv[1], progress=lambda done, total: calls.append((done, total)))\n"
        "assert calls[-1] == (found.hashed, found.hashed), calls[-3:]\n"
        "print(found.hashed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    hashed, grown = (int(text) for text in done.stdout.split())
    unit = 2**20 if sys.platform == "darwin" else 2**10
    assert hashed == size
    assert grown / unit < 32
