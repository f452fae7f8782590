"""`patchpm.apply` and `patchpm run`: from a signed registry to a model that carries the patches."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import patchpm
from patchpm.errors import CannotError, IntegrityError, StaleLockError
from tests.world import World


def loaded(folder: Path) -> tuple[Any, Any]:
    from patchpm.model.chat import load_model

    return load_model(folder)


def test_what_is_locked_is_applied_in_its_order_and_removed_again(talking: World) -> None:
    talking.started("bias", "toxicity")
    model, tokenizer = loaded(talking.base)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with patchpm.apply(model, tokenizer, project=talking.project) as applied:
        assert [str(patch.name) for patch in applied.patches] == ["acme/bias", "acme/toxicity"]
        assert applied.digest == talking.lock.compositions[0].digest
        assert applied.tokens == 5
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_another_model_is_refused(talking: World) -> None:
    talking.started("toxicity")
    model, tokenizer = loaded(talking.base)
    with torch.no_grad():
        model.model.norm.weight[0] += 1
    with pytest.raises(IntegrityError) as refusal:
        patchpm.apply(model, tokenizer, project=talking.project)
    assert refusal.value.code == "base-mismatch"


def test_a_changed_byte_in_the_store_is_refused_at_load(talking: World) -> None:
    talking.started("toxicity")
    model, tokenizer = loaded(talking.base)
    path = next(p for p in talking.stored() if p.name == talking.lock.releases[0].prefix.digest.hex)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"prefix\.safetensors"):
        patchpm.apply(model, tokenizer, project=talking.project)


def test_a_prefix_out_of_proportion_to_the_vocabulary_is_refused(talking: World) -> None:
    talking.started("toxicity")
    (talking.project / "patchpm-policy.toml").write_text("version = 1\nmax-norm-ratio = 0.01\n")
    model, tokenizer = loaded(talking.base)
    with pytest.raises(IntegrityError) as refusal:
        patchpm.apply(model, tokenizer, project=talking.project)
    assert refusal.value.code == "prefix-norm"


def test_a_stale_lock_and_an_empty_store_are_told_apart(talking: World) -> None:
    talking.started("toxicity")
    model, tokenizer = loaded(talking.base)
    shutil.rmtree(talking.home / "data" / "store")
    with pytest.raises(CannotError) as absent:
        patchpm.apply(model, tokenizer, project=talking.project)
    assert absent.value.code == "not-installed"
    toml = talking.project / "patchpm.toml"
    toml.write_text(toml.read_text().replace("^1.0.0", "^1"))
    with pytest.raises(StaleLockError):
        patchpm.apply(model, tokenizer, project=talking.project)


def test_the_command_run_shows_replies_with_and_without_the_patches(talking: World) -> None:
    talking.started("toxicity")
    found = talking.ok("run", "What is the capital of France?", "--compare", "--max-new-tokens", "4", "--json").json
    assert found[0]["prompt"] == "What is the capital of France?"
    assert {"before", "after", "prompt_tokens", "set"} <= found[0].keys()
    assert "without patches" in talking.ok("run", "Hello", "--compare", "--max-new-tokens", "2").out
