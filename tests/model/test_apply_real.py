"""The same on SmolLM2-135M-Instruct: logits of the patched model are those over explicit embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import platformdirs
import pytest
import torch

from patchpm.model.applied import Applied
from patchpm.model.apply import attach
from patchpm.model.chat import Session, load_model
from patchpm.model.loaded import LoadedPatch
from tests.model import reference, tiny

FOLDER = Path(platformdirs.user_cache_path("patchpm")) / "models" / "SmolLM2-135M-Instruct"
USERS = ("What is the capital of France?", "Name three colours.")
STEPS = 4

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (FOLDER / "config.json").is_file(), reason="the base model is not converted yet: make demo"),
]


@dataclass
class Real:
    model: Any
    tokenizer: Any
    patches: list[LoadedPatch]
    applied: Applied

    def batch(self) -> Any:
        return self.tokenizer.apply_chat_template(
            [[{"role": "user", "content": user}] for user in USERS],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )

    def expected(self, row: int) -> tuple[list[int], torch.Tensor]:
        with self.applied.disabled():
            before = self.tokenizer("<|im_start|>system\n")["input_ids"]
            chat = [{"role": "user", "content": USERS[row]}]
            ids = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
            start = reference.embeddings(self.model, before, self.patches, ids[len(before) :])
            return reference.greedy(self.model, start, STEPS)


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    loaded: Any = load_model(FOLDER, device="cpu")
    model, tokenizer = loaded
    model.float()
    tokenizer.padding_side = "left"
    base = tiny.base_of(model, tokenizer)
    patches = []
    for number, name in enumerate(("tiny/one", "tiny/two")):
        patch = tiny.patch(base, name, tokens=20, seed=number)
        patch.rows.mul_(3.15 / patch.rows.norm(dim=1, keepdim=True))  # the median norm of the model's own embedding
        patches.append(patch)
    with attach(model, tokenizer, patches) as applied:
        yield Real(model, tokenizer, patches, applied)


@pytest.mark.parametrize("options", [{}, {"cache_implementation": "static"}], ids=["dynamic", "static"])
def test_a_left_padded_batch_gives_the_logits_of_explicit_embeddings(real: Real, options: dict[str, Any]) -> None:
    batch = real.batch()
    assert int(batch["attention_mask"].min()) == 0
    out = real.model.generate(
        **batch, **options, max_new_tokens=STEPS, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    logits = torch.stack(out.logits, dim=1)
    for row in range(len(USERS)):
        ids, exact = real.expected(row)
        assert out.sequences[row, batch["input_ids"].shape[1] :].tolist() == ids
        assert (logits[row, :, : exact.shape[-1]] - exact).abs().max() < 1e-4


def test_the_default_system_text_of_the_template_stays(real: Real) -> None:
    text = real.tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert text.startswith("<|im_start|>system\n<|patchpm:")
    assert "|>You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n" in text
    assert not real.applied.anchor_note


def test_verify_passes_on_the_real_model(real: Real) -> None:
    report = real.applied.verify()
    assert report.tokens == 40
    assert report.largest_difference < 1e-4


def test_the_base_answers_as_ever_beside_the_patches(real: Real) -> None:
    session = Session(real.model, cast("Any", real.tokenizer), real.applied)
    before, after = session.compare([{"role": "user", "content": USERS[0]}], max_new_tokens=12)
    assert "Paris" in before.text
    assert after.prompt_tokens == before.prompt_tokens + 40


def test_a_prefilled_batch_gives_the_logits_that_it_gives_without(real: Real) -> None:
    batch = real.batch()
    runs = [
        real.model.generate(
            **inputs, max_new_tokens=STEPS, do_sample=False, return_dict_in_generate=True, output_logits=True
        )
        for inputs in (batch, real.applied.prefilled(batch))
    ]
    width = batch["input_ids"].shape[1]
    plain, prefilled = (out.sequences[:, width:].tolist() for out in runs)
    assert prefilled == plain
    assert (torch.stack(runs[1].logits) - torch.stack(runs[0].logits)).abs().max() < 5e-5
