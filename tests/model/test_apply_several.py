"""Several patch sets at once: each sequence gets the patches of its own set, and no undeclared set passes."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch

from patchpm.errors import IntegrityError, PatchpmError, UsageError
from patchpm.model.apply import attach
from patchpm.model.loaded import LoadedPatch, PatchSet
from tests.model import reference, tiny

SETS = {"a": ["tiny/one"], "b": ["tiny/two", "tiny/one"], "none": []}
CHAT = [{"role": "user", "content": "What is the capital of France?"}]
STEPS = 6


class Case:
    def __init__(self, *, anchor: str = "system-start", bos: bool = False) -> None:
        self.model: Any = tiny.llama()
        self.tokenizer: Any = tiny.tokenizer(bos=bos)
        self.plain: Any = tiny.tokenizer(bos=bos)
        self.base: Any = copy.deepcopy(self.model)
        named = tiny.base_of(self.model, self.tokenizer)
        self.patches = {
            name: tiny.patch(named, name, tokens=tokens, seed=tokens)
            for name, tokens in (("tiny/one", 5), ("tiny/two", 3), ("tiny/three", 4))
        }
        self.applied = attach(self.model, self.tokenizer, list(self.patches.values()), anchor=anchor)

    def of(self, label: str) -> list[LoadedPatch]:
        return [self.patches[name] for name in SETS[label]]

    def expected(self, label: str) -> list[int]:
        before = self.plain("<|im_start|>system\n")["input_ids"]
        text = self.plain.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)
        start = reference.embeddings(self.base, before, self.of(label), self.plain(text)["input_ids"][len(before) :])
        return reference.greedy(self.base, start, STEPS, slice(len(self.plain), None))[0]

    def ids(self, tokenizer: Any) -> list[int]:
        return cast(
            "list[int]", tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=True)["input_ids"]
        )

    def continuous(self, prompts: list[list[int]]) -> list[Any]:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        found = self.model.generate_batch(
            inputs=prompts,
            generation_config=cast("Any", GenerationConfig)(
                max_new_tokens=STEPS, do_sample=False, eos_token_id=-1, pad_token_id=0
            ),
            continuous_batching_config=ContinuousBatchingConfig(num_blocks=64, max_batch_tokens=256),
            progress_bar=False,
        )
        return [found[name] for name in sorted(found)]


@pytest.mark.slow
def test_one_continuous_batch_serves_all_sets_as_each_by_itself() -> None:
    case = Case()
    with case.applied.several(SETS) as sets:
        replies = case.continuous([case.ids(sets[label].tokenizer) for label in SETS])
    assert [reply.generated_tokens for reply in replies] == [case.expected(label) for label in SETS]
    assert len({tuple(reply.generated_tokens) for reply in replies}) == 3


def test_one_left_padded_batch_serves_all_sets_too() -> None:
    case = Case()
    with case.applied.several(SETS) as sets:
        rows = [case.ids(sets[label].tokenizer) for label in SETS]
        width = max(len(row) for row in rows)
        ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        out = case.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=STEPS, do_sample=False)
    assert out[:, width:].tolist() == [case.expected(label) for label in SETS]


def test_sets_serve_texts_at_text_start_too() -> None:
    case = Case(anchor="text-start", bos=True)
    text = "The capital of France is"
    bos, *body = case.plain(text)["input_ids"]
    with case.applied.several(SETS) as sets:
        for label, one in sets.items():
            inputs = cast("Any", one.tokenizer)(text, return_tensors="pt")
            found = case.model.generate(**inputs, max_new_tokens=STEPS, do_sample=False)
            start = reference.embeddings(case.base, [bos], case.of(label), body)
            wanted = reference.greedy(case.base, start, STEPS, slice(len(case.plain), None))[0]
            assert found[0, inputs["input_ids"].shape[1] :].tolist() == wanted


def test_each_set_says_what_it_is() -> None:
    case = Case()
    with case.applied.several(SETS) as sets:
        assert {label: one.tokens for label, one in sets.items()} == {"a": 5, "b": 8, "none": 0}
        assert [str(patch.name) for patch in sets["b"].patches] == SETS["b"]
        assert sets["b"].digest == PatchSet("system-start", tuple(case.of("b"))).digest


def test_a_set_can_be_prefilled() -> None:
    case = Case()
    with case.applied.several(SETS) as sets:
        for label in ("a", "b"):
            tokenizer: Any = sets[label].tokenizer
            inputs = tokenizer.apply_chat_template(
                [CHAT, CHAT], add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            found = case.model.generate(**case.applied.prefilled(inputs), max_new_tokens=STEPS, do_sample=False)
            assert found[:, inputs["input_ids"].shape[1] :].tolist() == [case.expected(label)] * 2
        with pytest.raises(UsageError, match="nothing-to-prefill"):
            case.applied.prefilled({"input_ids": torch.tensor([case.ids(sets["none"].tokenizer)])})


def refused(case: Case, ids: list[int]) -> str:
    with pytest.raises(IntegrityError) as caught:
        case.model(input_ids=torch.tensor([ids]))
    return caught.value.code


def test_a_set_that_was_not_declared_is_refused() -> None:
    case = Case()
    applied = case.ids(case.tokenizer)
    with case.applied.use("tiny/two"):
        two = case.ids(case.tokenizer)
    with case.applied.several(SETS):
        assert refused(case, applied) == "set-undeclared"
        assert refused(case, two) == "set-undeclared"
        assert refused(case, case.ids(case.tokenizer)) == "set-undeclared"
    case.model(input_ids=torch.tensor([applied]))


@pytest.mark.slow
def test_a_sequence_without_patches_is_refused_unless_the_empty_set_is_declared() -> None:
    case = Case()
    bare = case.ids(case.plain)
    with case.applied.several({"a": SETS["a"], "b": SETS["b"]}):
        assert refused(case, bare) == "set-undeclared"
        (reply,) = case.continuous([bare])
        assert "set-undeclared" in reply.error
    with case.applied.several(SETS):
        case.model(input_ids=torch.tensor([bare]))


def test_half_a_prefix_and_a_misplaced_prefix_are_refused_beside_the_empty_set() -> None:
    case = Case()
    with case.applied.several(SETS) as sets:
        ids = case.ids(sets["a"].tokenizer)
        first = next(place for place, token in enumerate(ids) if token >= len(case.plain))
        assert refused(case, ids[: first + 2] + ids[first + 3 :]) == "set-undeclared"
        assert refused(case, ids[first : first + 5] + ids[:first] + ids[first + 5 :]) == "set-undeclared"


def test_a_tokenizer_of_a_set_that_lost_its_template_is_refused() -> None:
    case = Case()
    with case.applied.several(SETS) as sets:
        ids = case.ids(sets["a"].tokenizer)
        sets["a"].tokenizer.chat_template = tiny.CHATML
        assert refused(case, ids) == "template-overridden"


def test_a_cache_of_one_set_is_of_no_use_to_another() -> None:
    case = Case()
    with case.applied.several({"b": SETS["b"]}) as sets, torch.no_grad():
        cache = case.model(input_ids=torch.tensor([case.ids(sets["b"].tokenizer)])).cache
        case.model(input_ids=torch.tensor([[70]]), cache=copy.deepcopy(cache))
    with case.applied.several({"a": SETS["a"]}), pytest.raises(IntegrityError, match="cache-foreign"):
        case.model(input_ids=torch.tensor([[70]]), cache=copy.deepcopy(cache))


def test_after_the_block_everything_is_as_before() -> None:
    case = Case()
    before = case.ids(case.tokenizer)
    size = case.model.config.vocab_size
    with pytest.raises(KeyError), case.applied.several(SETS):
        raise KeyError
    assert case.ids(case.tokenizer) == before
    assert case.model.config.vocab_size == size
    case.applied.verify()
    with case.applied.disabled():
        with case.applied.several(SETS) as sets:
            case.model(input_ids=torch.tensor([case.ids(sets["a"].tokenizer)]))
            with case.applied.use("tiny/three"):
                case.model(input_ids=torch.tensor([case.ids(case.tokenizer)]))
            assert refused(case, before) == "set-undeclared"
        assert case.model.config.vocab_size == len(case.plain)
        case.model(input_ids=torch.tensor([case.ids(case.plain)]))


@pytest.mark.parametrize(
    ("sets", "code"),
    [({}, "no-patches"), ({"a": ["tiny/four"]}, "unknown-patch"), ({"a": ["tiny/one"] * 2}, "duplicate-patch")],
)
def test_sets_that_cannot_be_are_refused(sets: dict[str, list[str]], code: str) -> None:
    case = Case()
    with pytest.raises(PatchpmError, match=code), case.applied.several(sets):
        pass
    case.applied.verify()
