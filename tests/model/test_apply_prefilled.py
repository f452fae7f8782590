"""A batch whose cache holds the prefix already gives what it gives without, by every way that takes a cache."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
import torch

from patchpm.errors import IntegrityError, PatchpmError, UsageError
from patchpm.model.apply import attach
from tests.model import reference, tiny
from tests.model.templates import SHAPES

USERS = ("What is the capital of France?", "Paris.", "Is it?")
STEPS = 6


class Case:
    """A patched model with a left-padded batch, and the base beside it."""

    def __init__(
        self, model: Any = None, template: str = tiny.CHATML, *, anchor: str = "system-start", bos: bool = False
    ) -> None:
        self.model: Any = tiny.llama() if model is None else model
        self.tokenizer: Any = tiny.tokenizer(template, bos=bos)
        self.base: Any = copy.deepcopy(self.model)
        named = tiny.base_of(self.model, self.tokenizer)
        self.patches = [tiny.patch(named, separator="\n"), tiny.patch(named, "tiny/two", tokens=3, seed=2)]
        self.applied = attach(self.model, self.tokenizer, self.patches, anchor=anchor)

    def batch(self, users: tuple[str, ...] = USERS, **options: Any) -> Any:
        chats = [[{"role": "user", "content": user}] for user in users]
        return self.tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True, **options
        )

    def generate(self, inputs: Any, **options: Any) -> tuple[list[list[int]], torch.Tensor]:
        out = self.model.generate(
            **inputs, max_new_tokens=STEPS, do_sample=False, return_dict_in_generate=True, output_logits=True, **options
        )
        return out.sequences[:, inputs["input_ids"].shape[1] :].tolist(), torch.stack(out.logits, dim=1)


def assert_same(case: Case, inputs: Any, prefilled: Any, **options: Any) -> None:
    rows, logits = case.generate(inputs, **options)
    found, near = case.generate(prefilled, **options)
    assert found == rows
    assert (near - logits).abs().max() < 5e-5


@pytest.mark.parametrize("make", [tiny.llama, tiny.gpt2], ids=["rotary-positions", "learned-positions"])
def test_a_left_padded_batch_gives_the_logits_that_it_gives_without(make: Any) -> None:
    case = Case(make())
    inputs = case.batch()
    assert int(inputs["attention_mask"].min()) == 0
    assert_same(case, inputs, case.applied.prefilled(inputs))


def test_a_prefilled_batch_gives_the_logits_of_explicit_embeddings_one_by_one() -> None:
    case = Case()
    _, logits = case.generate(case.applied.prefilled(case.batch()))
    plain: Any = tiny.tokenizer()
    before, newline = plain("<|im_start|>system\n")["input_ids"], plain("\n")["input_ids"]
    for row, user in enumerate(USERS):
        chat = [{"role": "user", "content": user}]
        text = plain.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        after = plain(text)["input_ids"][len(before) :]
        one, two = case.patches
        parts = [
            reference.embeddings(case.base, before, [one], newline),
            reference.embeddings(case.base, [], [two], after),
        ]
        closed = slice(len(plain), len(plain) + case.applied.tokens)
        _, exact = reference.greedy(case.base, torch.cat(parts, dim=1), STEPS, closed)
        assert (logits[row, :, : exact.shape[-1]] - exact).abs().max() < 5e-5


def test_the_model_reads_only_what_follows_the_prefix() -> None:
    case = Case()
    inputs = case.applied.prefilled(case.batch())
    seen: list[int] = []
    case.model.model.register_forward_pre_hook(
        lambda _module, _arguments, options: seen.append(options["input_ids"].shape[1]), with_kwargs=True
    )
    case.generate(inputs)
    separator = 1
    opening = len(tiny.tokenizer()("<|im_start|>system\n")["input_ids"]) + case.applied.tokens + separator
    assert seen[0] == inputs["input_ids"].shape[1] - opening
    assert sum(seen) == seen[0] + STEPS - 1


def test_the_same_inputs_can_be_generated_from_again_and_again() -> None:
    case = Case()
    inputs = case.applied.prefilled(case.batch())
    first = case.generate(inputs)
    other = case.applied.prefilled(case.batch(("Paris is the capital of France, is it?", "Hi")))
    case.generate(other)
    again = case.generate(inputs)
    assert first[0] == again[0]
    assert torch.equal(first[1], again[1])


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}])
def test_beams_find_what_they_find_without(options: dict[str, int]) -> None:
    case = Case()
    inputs = case.batch()
    wanted = case.model.generate(**inputs, max_new_tokens=STEPS, do_sample=False, **options)
    prefilled = case.applied.prefilled(inputs, copies=options["num_beams"])
    found = case.model.generate(**prefilled, max_new_tokens=STEPS, do_sample=False, **options)
    width = inputs["input_ids"].shape[1]
    assert found[:, width:].tolist() == wanted[:, width:].tolist()


def test_a_prompt_that_is_read_in_chunks_can_be_prefilled() -> None:
    case = Case()
    inputs = case.batch()
    assert_same(case, inputs, case.applied.prefilled(inputs), prefill_chunk_size=20)


def test_prompt_lookup_which_reads_the_prompt_again_in_some_releases_is_right_or_refused() -> None:
    case = Case()
    inputs = case.batch(USERS[:1])
    wanted = case.generate(inputs)[0]
    found = None
    with suppress(IntegrityError):
        found = case.generate(case.applied.prefilled(inputs), prompt_lookup_num_tokens=3)[0]
    assert found in (None, wanted)


def test_right_padding_becomes_padding_behind_the_prefix() -> None:
    case = Case()
    wanted = case.generate(case.batch())[0]
    case.tokenizer.padding_side = "right"
    assert case.generate(case.applied.prefilled(case.batch()))[0] == wanted


def test_texts_at_text_start_can_be_prefilled_too() -> None:
    case = Case(anchor="text-start", bos=True)
    inputs = case.tokenizer(["What is", "The capital of France is"], padding=True, return_tensors="pt")
    assert_same(case, inputs, case.applied.prefilled(inputs))


def test_another_subset_gets_its_own_prefix() -> None:
    case = Case()
    case.applied.prefilled(case.batch())
    with case.applied.use("tiny/two"):
        inputs = case.batch()
        assert_same(case, inputs, case.applied.prefilled(inputs))
    inputs = case.batch()
    assert_same(case, inputs, case.applied.prefilled(inputs))


def test_weights_that_changed_are_noticed() -> None:
    case = Case()
    case.applied.prefilled(case.batch())
    with torch.no_grad():
        case.model.model.layers[0].self_attn.v_proj.weight.mul_(1.5)
    inputs = case.batch()
    assert_same(case, inputs, case.applied.prefilled(inputs))


def test_conversations_that_begin_differently_are_refused() -> None:
    case = Case(template=SHAPES["trimmed-with-header-lines"].source)
    one, other = (case.batch(USERS[:1], date_string=f"0{day} Jan 2001") for day in (1, 2))
    case.applied.prefilled(one)
    both = {name: torch.cat([one[name], other[name]]) for name in ("input_ids", "attention_mask")}
    with pytest.raises(UsageError, match="openings-differ"):
        case.applied.prefilled(both)


def test_inputs_without_the_prefix_are_refused() -> None:
    case = Case()
    with pytest.raises(IntegrityError, match="prefix-missing"):
        case.applied.prefilled(tiny.tokenizer()("Paris is", return_tensors="pt"))


def test_prefilling_while_disabled_or_removed_is_refused() -> None:
    case = Case()
    inputs = case.batch()
    with case.applied.disabled(), pytest.raises(UsageError, match="nothing-to-prefill"):
        case.applied.prefilled(inputs)
    case.applied.remove()
    with pytest.raises(UsageError, match="not-applied"):
        case.applied.prefilled(inputs)


def test_a_model_without_keys_and_values_is_refused() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    config = MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=len(tiny.tokenizer()), initializer_range=0.3)
    config.pad_token_id = config.bos_token_id = config.eos_token_id = None
    mamba: Any = MambaForCausalLM(config)
    case = Case(mamba.eval())
    with pytest.raises(PatchpmError, match="cache-unsupported"):
        case.applied.prefilled(case.batch(USERS[:1]))


def refused(case: Case, inputs: Any) -> str:
    with pytest.raises(IntegrityError) as caught:
        case.model.generate(**inputs, max_new_tokens=2, do_sample=False)
    return caught.value.code


def test_a_prefilled_cache_of_another_set_is_refused() -> None:
    case = Case()
    inputs = case.applied.prefilled(case.batch())
    with case.applied.use("tiny/two"):
        assert refused(case, inputs) == "cache-foreign"
    case.generate(inputs)


def test_a_cache_that_was_filled_without_the_patches_is_refused() -> None:
    case = Case()
    with case.applied.disabled():
        inputs = dict(case.batch(USERS[:1]))
        cache = case.model(**inputs).cache
    longer = {key: torch.cat([value, value[:, -1:]], dim=1) for key, value in inputs.items()}
    assert refused(case, {**longer, "cache": cache}) == "cache-foreign"


def test_a_cache_of_a_model_that_is_patched_by_someone_else_is_refused() -> None:
    case, other = Case(), Case()
    assert refused(case, other.applied.prefilled(other.batch())) == "cache-foreign"


@torch.no_grad()
def test_the_cache_of_a_bare_forward_goes_on() -> None:
    case = Case()
    inputs = case.batch(USERS[:1])
    first = case.model(**inputs)
    ids = first.logits[:, -1:].argmax(-1)
    mask = torch.ones(1, inputs["input_ids"].shape[1] + 1, dtype=torch.long)
    second = case.model(input_ids=ids, attention_mask=mask, cache=copy.deepcopy(first.cache))
    wanted = case.generate(inputs)[0][0]
    assert [int(ids), int(second.logits[0, -1].argmax())] == wanted[:2]


def test_whole_inputs_behind_a_prefilled_cache_in_a_bare_forward_are_refused() -> None:
    case = Case()
    with pytest.raises(IntegrityError, match="prefix-repeated"):
        case.model(**case.applied.prefilled(case.batch()))
