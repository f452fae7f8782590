"""At `text-start` a raw text carries the prefix behind its BOS, tokenised as without it."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch

from patchpm.errors import IntegrityError
from patchpm.model.applied import Applied
from patchpm.model.apply import attach
from patchpm.model.loaded import LoadedPatch
from tests.model import reference, tiny

TEXTS = ("The capital of France is", "Paris")
STEPS = 5


class Patched:
    def __init__(self, *, bos: bool = False, separator: str = "", template: str | None = tiny.CHATML) -> None:
        self.bos = bos
        self.model: Any = tiny.llama()
        self.tokenizer: Any = tiny.tokenizer(template, bos=bos)
        self.base = copy.deepcopy(self.model)
        named = tiny.base_of(self.model, self.tokenizer)
        self.patches: list[LoadedPatch] = [
            tiny.patch(named, separator=separator),
            tiny.patch(named, "tiny/two", tokens=3, seed=2, separator=separator),
        ]
        self.applied: Applied = attach(self.model, self.tokenizer, self.patches, anchor="text-start")

    def plain(self, text: str) -> list[int]:
        return list(tiny.tokenizer(bos=self.bos)(text)["input_ids"])


@pytest.mark.parametrize("bos", [False, True])
def test_a_left_padded_batch_of_texts_gives_the_logits_of_explicit_embeddings(bos: bool) -> None:
    case = Patched(bos=bos)
    batch = case.tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    out = case.model.generate(
        **batch, max_new_tokens=STEPS, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    logits = torch.stack(out.logits, dim=1)[..., : len(tiny.tokenizer())]
    for row, text in enumerate(TEXTS):
        ids = case.plain(text)
        start = reference.embeddings(case.base, ids[:bos], case.patches, ids[bos:])
        expected, exact = reference.greedy(case.base, start, STEPS)
        assert out.sequences[row, batch["input_ids"].shape[1] :].tolist() == expected
        assert (logits[row] - exact).abs().max() < 1e-4


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("text", ["", " ", "What\n\nis", "é中🙂", "<|im_end|>", "a" * 300])
def test_the_text_is_tokenised_as_without_the_prefix(bos: bool, text: str) -> None:
    case = Patched(bos=bos)
    ids = case.tokenizer(text)["input_ids"]
    assert ids[:bos] + ids[bos + 8 :] == case.plain(text)
    assert ids[bos : bos + 8] == list(range(len(tiny.tokenizer()), len(tiny.tokenizer()) + 8))


def test_truncation_keeps_the_prefix_whole() -> None:
    case = Patched(bos=True)
    for side in ("left", "right"):
        case.tokenizer.truncation_side = side
        cut = case.tokenizer("What is the capital " * 20, truncation=True, max_length=24, return_tensors="pt")
        assert cut["input_ids"].shape[1] == 24
        case.model(**cut)


def test_a_separator_stands_behind_each_patch() -> None:
    case = Patched(separator="\n")
    line = case.plain("\n")
    first = len(tiny.tokenizer())
    one, two = list(range(first, first + 5)), list(range(first + 5, first + 8))
    assert case.tokenizer("Paris")["input_ids"] == one + line + two + line + case.plain("Paris")
    case.model(**case.tokenizer("Paris", return_tensors="pt"))


@pytest.mark.parametrize("trim", [True, False])
def test_offsets_still_point_into_the_text(trim: bool) -> None:
    from tokenizers import processors

    model, tokenizer = tiny.llama(), tiny.tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    own = tokenizer("What is  the capital?", return_offsets_mapping=True)["offset_mapping"]
    attach(model, tokenizer, [tiny.patch(tiny.base_of(model, tokenizer))], anchor="text-start")
    assert tokenizer("What is  the capital?", return_offsets_mapping=True)["offset_mapping"][5:] == own


@pytest.mark.parametrize(
    "encode",
    [
        lambda case: case.tokenizer("Paris", return_tensors="pt", add_special_tokens=False),
        lambda case: case.tokenizer.apply_chat_template(
            [{"role": "user", "content": "Paris"}], return_tensors="pt", return_dict=True
        ),
    ],
)
def test_input_that_does_not_carry_the_prefix_is_refused(encode: Any) -> None:
    case = Patched()
    with pytest.raises(IntegrityError, match="prefix-missing"):
        case.model(**encode(case))


def test_a_replaced_post_processor_is_refused() -> None:
    case = Patched()
    good = case.tokenizer("Paris", return_tensors="pt")
    case.tokenizer.add_bos_token = True
    with pytest.raises(IntegrityError, match="template-overridden"):
        case.model(**good)
    with pytest.raises(IntegrityError, match="template-overridden"):
        case.applied.verify()


def test_a_second_bos_is_refused() -> None:
    case = Patched(bos=True)
    ids = case.tokenizer("Paris", return_tensors="pt")["input_ids"]
    with pytest.raises(IntegrityError, match="prefix-misplaced"):
        case.model(input_ids=torch.cat([ids[:, :1], ids], dim=1))


def test_switching_disabling_and_removing_work_as_at_system_start() -> None:
    case = Patched(bos=True)
    first = len(tiny.tokenizer())
    with case.applied.use("tiny/two"):
        assert case.tokenizer("Paris")["input_ids"][1:4] == list(range(first + 5, first + 8))
        case.applied.verify()
    with case.applied.disabled():
        assert case.tokenizer("Paris")["input_ids"] == case.plain("Paris")
    assert case.applied.verify().probes == 4
    case.applied.remove()
    assert case.tokenizer("Paris")["input_ids"] == case.plain("Paris")


def test_a_base_model_without_a_chat_template_can_be_patched() -> None:
    assert Patched(template=None).applied.verify().anchor == "text-start"


def test_a_pipeline_over_raw_text_carries_the_prefix() -> None:
    from transformers import TextGenerationPipeline

    case = Patched(bos=True)
    pipeline = cast("Any", TextGenerationPipeline)(model=case.model, tokenizer=case.tokenizer)
    reply = pipeline("Paris", max_new_tokens=STEPS, do_sample=False, return_full_text=False)[0]["generated_text"]
    ids = case.plain("Paris")
    expected, _ = reference.greedy(case.base, reference.embeddings(case.base, ids[:1], case.patches, ids[1:]), STEPS)
    assert reply == tiny.tokenizer().decode(expected, skip_special_tokens=True)
