"""The real base model: file, GGUF and memory agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from patchpm.model.fingerprint import fingerprint
from patchpm.model.memory import fingerprint_of_model

TOKENIZER = "sha256:b6eafd4c68baebba7af1235a3281f6f727250537110c2260fc569b8601a62c2e"
"""Of SmolLM2's vocabulary and merges: the same in the GGUF file and in the folder converted from it."""


@pytest.fixture(scope="module")
def base() -> Path:
    import platformdirs

    folder = platformdirs.user_cache_path("patchpm") / "models" / "SmolLM2-135M-Instruct"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("SmolLM2-135M-Instruct was not converted yet: make demo")
    return folder


@pytest.mark.real
def test_the_real_model_has_one_fingerprint_in_file_and_memory(base: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = fingerprint(base).fingerprint
    assert str(found.tokenizer) == TOKENIZER
    assert found.hidden_size == 576
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    assert fingerprint_of_model(model, AutoTokenizer.from_pretrained(base)) == found
    half = fingerprint_of_model(model.to(torch.bfloat16))
    model.save_pretrained(tmp_path / "bf16", max_shard_size="100MB")
    saved = fingerprint(tmp_path / "bf16").fingerprint
    assert (half.tensors, half.bf16) == (saved.tensors, saved.bf16)
    assert (half.bf16, half.tensors != found.tensors) == (found.bf16, True)
