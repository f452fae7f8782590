from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from patchpm.errors import UsageError
from patchpm.train.base_model import BFLOAT16, bfloat16_is_faster, load_model, weights_digest
from patchpm.train.losses import imitation
from patchpm.train.prefix_model import PrefixModel
from tests.model.tiny import llama, tokenizer
from tests.train.tiny_run import HARMFUL, prefix_model, random_prefix, write_base


def loss_and_slope(model: PrefixModel) -> tuple[float, torch.Tensor]:
    prefix = random_prefix().requires_grad_(True)
    replies = [(7, 8, 9, 10 + number) for number in range(len(HARMFUL))]
    loss = imitation(model.read(model.opening(prefix), [model.frame.tail(prompt) for prompt in HARMFUL], replies))
    torch.autograd.backward(loss)
    assert prefix.grad is not None
    return float(loss.detach()), prefix.grad


def test_a_loaded_model_gives_the_logits_of_the_one_that_was_saved(tmp_path: Path) -> None:
    loss, slope = loss_and_slope(load_model(write_base(tmp_path)))
    expected, other = loss_and_slope(prefix_model())
    assert loss == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(slope, other, atol=1e-5, rtol=1e-4)


def test_nothing_in_a_loaded_model_is_trained(tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        model = load_model(write_base(tmp_path), precision=precision)
        assert not [name for name, tensor in model.model.named_parameters() if tensor.requires_grad]
        assert not model.model.training


@pytest.mark.parametrize("tied", [True, False])
def test_bfloat16_gives_losses_close_to_those_of_float32(tmp_path: Path, tied: bool) -> None:
    llama(tied=tied).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    (whole, slope), (half, other) = (
        loss_and_slope(load_model(tmp_path, precision=precision)) for precision in ("float32", "bfloat16")
    )
    assert half == pytest.approx(whole, rel=0.02)
    assert half != whole
    assert other.dtype == torch.float32
    assert torch.cosine_similarity(slope.flatten(), other.flatten(), dim=0) > 0.98


def test_in_bfloat16_only_linear_layers_are_rounded_and_the_prefix_meets_whole_embeddings(tmp_path: Path) -> None:
    model = load_model(write_base(tmp_path), precision=BFLOAT16)
    weighty = [module for module in model.model.modules() if hasattr(module, "weight")]
    dtypes = {type(module).__name__: module.weight.dtype for module in weighty}
    assert dtypes == {"Embedding": torch.float32, "Linear": torch.bfloat16, "LlamaRMSNorm": torch.float32}
    assert torch.equal(model.embed_text("You are"), prefix_model().embed_text("You are"))
    assert model.run(input_ids=torch.tensor([[1, 2]])).dtype == torch.float32


def test_whether_bfloat16_is_faster_is_a_matter_of_the_machine() -> None:
    assert bfloat16_is_faster(torch.device("cpu")) in (True, False)
    assert bfloat16_is_faster(torch.device("meta"))


def test_the_digest_follows_weights_tokenizer_and_template_and_nothing_else(tmp_path: Path) -> None:
    first = weights_digest(write_base(tmp_path))
    (tmp_path / "README.md").write_text("read me")
    assert weights_digest(tmp_path) == first
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja"):
        path = tmp_path / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert weights_digest(tmp_path) != first, name
        path.write_bytes(data)
    assert weights_digest(tmp_path) == first


def test_a_folder_without_a_model_is_a_usage_error(tmp_path: Path) -> None:
    load: Any
    for load in (load_model, weights_digest):
        with pytest.raises(UsageError) as caught:
            load(tmp_path)
        assert caught.value.code == "base-not-found"
