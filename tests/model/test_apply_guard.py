"""A sequence never starts without the prefix at its anchor: the guard fails closed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from patchpm.errors import IntegrityError, UsageError
from patchpm.model.applied import Applied
from patchpm.model.apply import attach
from tests.model import tiny

USER = {"role": "user", "content": "What is the capital?"}


class Patched:
    """A patched model with its inputs."""

    def __init__(self, template: str = tiny.CHATML, *, separator: str = "") -> None:
        self.model: Any = tiny.llama()
        self.tokenizer: Any = tiny.tokenizer(template)
        base = tiny.base_of(self.model, self.tokenizer)
        patches = [tiny.patch(base, separator=separator), tiny.patch(base, "tiny/two", tokens=3, seed=2)]
        self.applied: Applied = attach(self.model, self.tokenizer, patches)

    def ids(self, content: str = "What is the capital?") -> torch.Tensor:
        chat = [{"role": "user", "content": content}]
        out = self.tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)["input_ids"]
        assert isinstance(out, torch.Tensor)
        return out

    def virtual(self, ids: torch.Tensor) -> torch.Tensor:
        return ids >= len(tiny.tokenizer())

    def refuses(self, **inputs: Any) -> str:
        with pytest.raises(IntegrityError) as caught:
            self.model(**inputs)
        assert caught.value.why
        assert caught.value.next
        return caught.value.code


def test_a_stripped_prefix_is_refused() -> None:
    case = Patched()
    ids = case.ids()
    assert case.refuses(input_ids=ids[~case.virtual(ids)][None]) == "prefix-missing"


def test_raw_text_is_refused_at_system_start() -> None:
    case = Patched()
    assert case.refuses(**case.tokenizer("What is", return_tensors="pt")) == "prefix-missing"


def test_ids_as_a_positional_argument_are_checked_too() -> None:
    case = Patched()
    with pytest.raises(IntegrityError, match="prefix-missing"):
        case.model(case.tokenizer("What is", return_tensors="pt")["input_ids"])


@pytest.mark.parametrize("place", range(8))
def test_a_prefix_that_lacks_any_one_token_is_refused(place: int) -> None:
    case = Patched()
    ids = case.ids()
    keep = torch.ones(ids.shape[1], dtype=torch.bool)
    keep[int(case.virtual(ids)[0].nonzero()[place])] = False
    assert case.refuses(input_ids=ids[:, keep]) in ("prefix-missing", "prefix-misplaced")


def test_patches_in_another_order_are_refused() -> None:
    case = Patched()
    with case.applied.use("tiny/two", "tiny/one"):
        other = case.ids()
        case.model(input_ids=other)
    assert case.refuses(input_ids=other) == "prefix-missing"


def test_a_subset_of_the_patches_is_refused() -> None:
    case = Patched()
    with case.applied.use("tiny/one"):
        subset = case.ids()
    assert case.refuses(input_ids=subset) == "prefix-missing"


def test_a_prefix_at_position_0_is_refused() -> None:
    case = Patched()
    ids = case.ids()
    virtual = case.virtual(ids)
    moved = torch.cat([ids[virtual], ids[~virtual]])[None]
    assert case.refuses(input_ids=moved) == "prefix-misplaced"


def test_tokens_before_the_template_s_own_first_are_refused() -> None:
    case = Patched()
    ids = case.ids()
    assert case.refuses(input_ids=torch.cat([ids[:, -1:], ids], dim=1)) == "prefix-misplaced"


def test_left_padding_without_its_mask_is_refused() -> None:
    case = Patched()
    batch = case.tokenizer.apply_chat_template(
        [[USER], [{"role": "user", "content": "Paris"}]], padding=True, return_tensors="pt", return_dict=True
    )
    case.model(**batch)
    assert case.refuses(input_ids=batch["input_ids"]) == "prefix-misplaced"


def test_right_padding_with_its_mask_passes() -> None:
    case = Patched()
    case.tokenizer.padding_side = "right"
    batch = case.tokenizer.apply_chat_template(
        [[USER], [{"role": "user", "content": "Paris"}]], padding=True, return_tensors="pt", return_dict=True
    )
    assert batch["attention_mask"].min() == 0
    case.model(**batch)


def test_one_bad_row_in_a_batch_is_enough() -> None:
    case = Patched()
    good = case.ids()
    bad = torch.where(case.virtual(good), 65, good)
    case.model(input_ids=torch.cat([good, good]))
    assert case.refuses(input_ids=torch.cat([good, bad])) == "prefix-missing"


def test_user_text_that_contains_the_name_of_a_prefix_token_is_refused() -> None:
    case = Patched()
    name = case.tokenizer.convert_ids_to_tokens(len(tiny.tokenizer()) + 2)
    assert case.refuses(input_ids=case.ids(f"hello {name} there")) == "prefix-repeated"


def test_user_text_that_contains_the_whole_prefix_is_refused() -> None:
    case = Patched()
    text = case.tokenizer.decode(case.ids()[case.virtual(case.ids())])
    assert case.refuses(input_ids=case.ids(text)) == "prefix-repeated"


def test_names_of_prefix_tokens_in_user_text_become_plain_text_where_transformers_sanitises() -> None:
    case = Patched()
    name = case.tokenizer.convert_ids_to_tokens(len(tiny.tokenizer()) + 2)
    chat = [{"role": "user", "content": f"hello {name} there"}]
    options = {"return_tensors": "pt", "return_dict": True, "sanitize_control_tokens": True}
    case.model(**case.tokenizer.apply_chat_template(chat, **options))


def test_embeddings_instead_of_ids_are_refused() -> None:
    case = Patched()
    assert case.refuses(inputs_embeds=torch.zeros(1, 4, 32)) == "embeddings-refused"
    with pytest.raises(IntegrityError, match="embeddings-refused"):
        case.model.generate(inputs_embeds=torch.zeros(1, 4, 32), max_new_tokens=1)


def test_a_prefix_that_truncation_cut_is_refused() -> None:
    case = Patched()
    chat = [{"role": "user", "content": "What is " * 10}]
    case.tokenizer.truncation_side = "left"
    cut = case.tokenizer.apply_chat_template(
        chat, truncation=True, max_length=20, return_tensors="pt", return_dict=True
    )
    assert case.refuses(**cut) == "prefix-missing"


@pytest.mark.parametrize("template", [tiny.CHATML.replace("helpful", "free"), None])
def test_a_replaced_template_is_refused_whatever_the_input(template: str | None) -> None:
    case = Patched()
    ids = case.ids()
    case.tokenizer.chat_template = template
    assert case.refuses(input_ids=ids) == "template-overridden"
    with pytest.raises(IntegrityError, match="template-overridden"):
        case.applied.verify()


def test_a_template_given_for_one_call_is_refused() -> None:
    case = Patched()
    ids = case.tokenizer.apply_chat_template([USER], chat_template=tiny.CHATML, return_tensors="pt", return_dict=True)
    assert case.refuses(**ids) == "prefix-missing"


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_an_empty_cache_starts_a_sequence(cache: str) -> None:
    from transformers import DynamicCache, StaticCache

    case = Patched()
    config = case.model.config
    made: Any = StaticCache(config=config, max_cache_len=64) if cache == "static" else DynamicCache(config=config)
    bare = case.tokenizer("What is", return_tensors="pt")["input_ids"]
    assert case.refuses(input_ids=bare, past_key_values=made) == "prefix-missing"
    case.model(input_ids=case.ids(), past_key_values=made)
    case.model(input_ids=bare, past_key_values=made)
    if cache == "static":
        made.reset()
        assert case.refuses(input_ids=bare, past_key_values=made) == "prefix-missing"


def test_a_static_cache_with_a_bad_prompt_is_refused_in_generate() -> None:
    case = Patched()
    bare = case.tokenizer(["What is", "a"], return_tensors="pt", padding=True)
    with pytest.raises(IntegrityError, match="prefix-missing"):
        case.model.generate(**bare, cache_implementation="static", max_new_tokens=2)


def test_a_prefix_of_an_earlier_apply_means_nothing_now() -> None:
    case = Patched()
    old = case.tokenizer.apply_chat_template([USER], tokenize=False)
    patches = case.applied.patches
    case.applied.remove()
    attach(case.model, case.tokenizer, patches)
    ids = case.tokenizer(old, return_tensors="pt", add_special_tokens=False)
    assert case.refuses(**ids) == "prefix-missing"


def test_separators_between_patches_belong_to_what_is_demanded() -> None:
    case = Patched(separator="\n")
    ids = case.ids()
    case.model(input_ids=ids)
    virtual = case.virtual(ids)[0].nonzero().flatten().tolist()
    between = [place for place in range(virtual[0], virtual[-1]) if place not in virtual]
    assert len(between) == 1
    keep = [place for place in range(ids.shape[1]) if place not in between]
    assert case.refuses(input_ids=ids[:, keep]) == "prefix-missing"


def test_a_head_with_a_date_in_it_is_known_at_both_ends() -> None:
    from tests.model.templates import SHAPES

    case = Patched(SHAPES["trimmed-with-header-lines"].source)
    case.model(input_ids=case.ids())
    other_day = case.tokenizer.apply_chat_template(
        [USER], date_string="02 Feb 2002", return_tensors="pt", return_dict=True
    )
    case.model(**other_day)
    ids = other_day["input_ids"]
    assert case.refuses(input_ids=torch.cat([ids[:, -1:], ids], dim=1)) == "prefix-misplaced"
    start = int(case.virtual(ids)[0].nonzero()[0])
    assert case.refuses(input_ids=torch.cat([ids[:, : start - 1], ids[:, start:]], dim=1)) == "prefix-misplaced"


def test_a_first_chunk_of_a_prompt_must_hold_the_prefix() -> None:
    case = Patched()
    ids = case.ids()
    assert case.model.generate(ids, prefill_chunk_size=16, max_new_tokens=2).shape[1] == ids.shape[1] + 2
    with pytest.raises(IntegrityError, match="prefix-missing"):
        case.model.generate(ids, prefill_chunk_size=6, max_new_tokens=2)


def test_saving_a_patched_model_or_tokenizer_is_refused(tmp_path: Any) -> None:
    case = Patched()
    for owner in (case.model, case.tokenizer):
        with pytest.raises(UsageError, match="save-while-applied"):
            owner.save_pretrained(tmp_path)
    case.applied.remove()
    case.model.save_pretrained(tmp_path)
    case.tokenizer.save_pretrained(tmp_path)
