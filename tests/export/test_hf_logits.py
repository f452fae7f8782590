"""An export answers as its base does over explicit embeddings, whatever the base looks like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PhiConfig, PhiForCausalLM

from patchpm.export.forward_check import largest_difference
from patchpm.model.apply import attach
from tests.export.exports import BRIEF, CAPITAL, answered, loaded, write_base
from tests.model import tiny

RESERVED = [f"<|reserved_special_token_{number}|>" for number in range(9)]


def gemma() -> Any:
    """Scales its embedding."""
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, vocab_size=len(tiny.tokenizer()), max_position_embeddings=512, initializer_range=0.3,
        pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    made: Any = Gemma3ForCausalLM(config)
    return made.eval()


def phi() -> Any:
    """Adds a bias to its logits."""
    torch.manual_seed(0)
    config = PhiConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=len(tiny.tokenizer()), max_position_embeddings=512, initializer_range=0.3,
        pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    made: Any = PhiForCausalLM(config)
    return made.eval()


MODELS: dict[str, Callable[[], Any]] = {
    "tied": tiny.llama,
    "untied": lambda: tiny.llama(tied=False),
    "some-spare-rows": lambda: tiny.llama(padded=4, tied=False),
    "spare-rows": lambda: tiny.llama(padded=64, tied=False),
    "tied-with-spare-rows": lambda: tiny.llama(padded=64),
    "gpt2": tiny.gpt2,
    "scaled-embedding": gemma,
    "bias-on-the-head": phi,
}


@pytest.mark.parametrize("messages", [CAPITAL, BRIEF], ids=["no-system-text", "own-system-text"])
@pytest.mark.parametrize("name", MODELS)
def test_an_export_answers_as_its_base_over_explicit_embeddings(name: str, messages: Any, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", MODELS[name]())
    made = base.export(tmp_path / "out")

    ids, logits = answered(tmp_path / "out", messages)

    expected, reference = base.expected(messages)
    assert ids == expected
    assert logits.shape[1] == made.vocabulary
    first = made.provenance.first_id
    assert torch.allclose(logits[:, :first], reference[:, :first], atol=5e-5, rtol=0)


def test_an_export_answers_as_the_patched_model_in_process(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", tiny.llama())
    base.export(tmp_path / "out")
    model, tokenizer = base.model(), base.tokenizer()
    with attach(model, tokenizer, base.patches.patches, found=base.found):
        batch = tokenizer.apply_chat_template(
            list(BRIEF), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        replies = model.generate(**batch, max_new_tokens=5, do_sample=False)
        expected = replies[0, batch["input_ids"].shape[1] :].tolist()

    assert answered(tmp_path / "out", BRIEF)[0] == expected


def test_an_export_in_bfloat16_stays_in_bfloat16(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", tiny.llama().to(torch.bfloat16))
    made = base.export(tmp_path / "out")

    model, _ = loaded(tmp_path / "out")

    assert model.get_output_embeddings().weight.dtype is torch.bfloat16
    assert made.provenance.dtype == "BF16"
    assert largest_difference(tmp_path / "out", base.folder, base.patches) < 0.02


def test_reserved_tokens_are_taken_and_get_names_that_nobody_can_guess(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": RESERVED})
    base = write_base(tmp_path / "base", tiny.llama(vocab=len(tokenizer)), tokenizer)
    made = base.export(tmp_path / "out")

    model, exported = loaded(tmp_path / "out")

    assert (made.grown, model.config.vocab_size, len(exported)) == (0, len(tokenizer), len(tokenizer))
    assert made.provenance.first_id == len(tokenizer) - 8
    ours = set(range(made.provenance.first_id, made.provenance.first_id + 8))
    assert not ours & set(exported("".join(RESERVED))["input_ids"])
    assert RESERVED[0] in exported.get_vocab()
    assert not any(RESERVED[-1] in path.read_text() for path in (tmp_path / "out").glob("*.json"))
    assert largest_difference(tmp_path / "out", base.folder, base.patches) < 5e-5


def test_a_reserved_token_with_a_role_keeps_its_name(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": RESERVED[:8], "pad_token": RESERVED[5]})
    base = write_base(tmp_path / "base", tiny.llama(vocab=len(tokenizer)), tokenizer)

    made = base.export(tmp_path / "out")

    assert made.provenance.first_id == len(tokenizer)
    assert loaded(tmp_path / "out")[1].pad_token == RESERVED[5]
