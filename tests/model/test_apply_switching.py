"""Patches can be switched, disabled, verified, and taken off without a trace."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from patchpm.errors import IntegrityError, PatchpmError, UsageError
from patchpm.model.applied import Applied
from patchpm.model.apply import attach
from patchpm.model.loaded import LoadedPatch, PatchSet
from tests.model import reference, tiny

USER = {"role": "user", "content": "What is the capital?"}


class Patched:
    def __init__(self, *, tied: bool = True, padded: int = 0, template: str = tiny.CHATML) -> None:
        self.model: Any = tiny.llama(tied=tied, padded=padded)
        self.tokenizer: Any = tiny.tokenizer(template)
        self.base: Any = copy.deepcopy(self.model)
        named = tiny.base_of(self.model, self.tokenizer)
        self.patches = [
            tiny.patch(named),
            tiny.patch(named, "tiny/two", tokens=3, seed=2),
            tiny.patch(named, "tiny/three", tokens=4, seed=3),
        ]
        self.applied: Applied = attach(self.model, self.tokenizer, self.patches)

    def logits(self) -> torch.Tensor:
        batch = self.tokenizer.apply_chat_template([USER], return_tensors="pt", return_dict=True)
        with torch.no_grad():
            out = self.model(**batch).logits[0, -1]
        assert isinstance(out, torch.Tensor)
        return out

    def expected(self, *patches: LoadedPatch) -> torch.Tensor:
        plain: Any = tiny.tokenizer()
        before = plain("<|im_start|>system\n")["input_ids"]
        after = plain(plain.apply_chat_template([USER], tokenize=False))["input_ids"][len(before) :]
        with torch.no_grad():
            out = self.base(inputs_embeds=reference.embeddings(self.base, before, patches, after)).logits[0, -1]
        assert isinstance(out, torch.Tensor)
        return out


def state(owner: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(owner).items() if key != "_tokenizer"}


def test_use_switches_to_a_subset_in_the_order_given_and_back() -> None:
    case = Patched()
    one, two, three = case.patches
    size = case.model.config.vocab_size
    for _ in range(2):
        assert (case.logits()[: len(tiny.tokenizer())] - case.expected(one, two, three)).abs().max() < 1e-4
        with case.applied.use("tiny/three", "tiny/one") as applied:
            assert applied is case.applied
            assert (case.logits()[: len(tiny.tokenizer())] - case.expected(three, one)).abs().max() < 1e-4
            assert applied.tokens == 9
            assert applied.digest == PatchSet("system-start", (three, one)).digest
            with applied.use(two.name):
                assert (case.logits()[: len(tiny.tokenizer())] - case.expected(two)).abs().max() < 1e-4
            assert applied.tokens == 9
        assert case.model.config.vocab_size == size


def test_disabled_gives_the_logits_of_the_base_to_the_bit() -> None:
    case = Patched()
    plain: Any = tiny.tokenizer()
    batch = plain.apply_chat_template([USER], return_tensors="pt", return_dict=True)
    with case.applied.disabled():
        assert torch.equal(case.logits(), case.base(**batch).logits[0, -1])
        assert case.tokenizer.chat_template == tiny.CHATML
        assert case.model.config.vocab_size == case.base.config.vocab_size
        assert case.applied.tokens == 0
        case.model(inputs_embeds=torch.zeros(1, 3, 32))
        with pytest.raises(IntegrityError, match="patches-disabled"):
            case.applied.verify()
    assert (case.logits()[: len(plain)] - case.expected(*case.patches)).abs().max() < 1e-4


def test_an_error_inside_a_block_still_switches_back() -> None:
    case = Patched()
    with pytest.raises(KeyError), case.applied.disabled():
        raise KeyError
    case.applied.verify()
    assert case.applied.tokens == 12


@pytest.mark.parametrize(
    ("names", "code"),
    [((), "no-patches"), (("tiny/four",), "unknown-patch"), (("tiny/one", "tiny/one"), "duplicate-patch")],
)
def test_use_refuses_names_that_make_no_set(names: tuple[str, ...], code: str) -> None:
    case = Patched()
    with pytest.raises(UsageError) as caught, case.applied.use(*names):
        pass
    assert caught.value.code == code
    case.applied.verify()


@pytest.mark.parametrize(("tied", "padded"), [(True, 0), (False, 0), (True, 40)])
def test_remove_restores_model_and_tokenizer_exactly(tied: bool, padded: int) -> None:
    model: Any = tiny.llama(tied=tied, padded=padded)
    tokenizer: Any = tiny.tokenizer()
    modules = {name: (module, type(module)) for name, module in model.named_modules()}
    weights = {name: (value, value.clone()) for name, value in model.state_dict(keep_vars=True).items()}
    config, generation = copy.deepcopy(model.config), copy.deepcopy(model.generation_config)
    attributes, backend, text = state(tokenizer), tokenizer.backend_tokenizer, tokenizer.backend_tokenizer.to_str()
    model_attributes, embedding_attributes = set(vars(model)), set(vars(model.get_input_embeddings()))

    applied = attach(model, tokenizer, [tiny.patch(tiny.base_of(model, tokenizer))])
    assert list(model.state_dict()) == list(weights)
    with applied.use("tiny/one"):
        pass
    applied.remove()
    applied.remove()

    assert {name: (module, type(module)) for name, module in model.named_modules()} == modules
    after = model.state_dict(keep_vars=True)
    assert all(after[name] is value and torch.equal(value, copied) for name, (value, copied) in weights.items())
    assert list(after) == list(weights)
    assert model.config.to_dict() == config.to_dict()
    assert model.generation_config.to_dict() == generation.to_dict()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert set(vars(model)) == model_attributes
    assert set(vars(model.get_input_embeddings())) == embedding_attributes
    assert dict(model.named_buffers()).keys() == dict(tiny.llama(tied=tied, padded=padded).named_buffers()).keys()
    assert state(tokenizer) == attributes
    assert tokenizer.backend_tokenizer is backend
    assert backend.to_str() == text


def test_a_model_moved_while_patched_stays_moved_after_remove() -> None:
    case = Patched()
    case.model.to(torch.float64)
    case.applied.remove()
    assert {weight.dtype for weight in case.model.parameters()} == {torch.float64}
    assert case.model.get_input_embeddings().weight is case.model.lm_head.weight


def test_leaving_the_with_block_removes_the_patches() -> None:
    case = Patched()
    with case.applied:
        pass
    plain: Any = tiny.tokenizer()
    batch = plain.apply_chat_template([USER], return_tensors="pt", return_dict=True)
    assert torch.equal(case.logits(), case.base(**batch).logits[0, -1])
    for action in (case.applied.verify, case.applied.disabled().__enter__, case.applied.use("tiny/one").__enter__):
        with pytest.raises(UsageError, match="not-applied"):
            action()


def test_removing_inside_a_block_is_final() -> None:
    case = Patched()
    with case.applied.use("tiny/one"):
        case.applied.remove()
    assert case.tokenizer.chat_template == tiny.CHATML
    assert case.model.config.vocab_size == len(tiny.tokenizer())


def test_verify_reports_what_runs() -> None:
    case = Patched()
    report = case.applied.verify()
    assert report.patches == ("tiny/one", "tiny/two", "tiny/three")
    assert report.tokens == 12
    assert report.anchor == "system-start"
    assert report.probes >= 7
    assert report.largest_difference < 1e-4
    assert report.digest == PatchSet("system-start", tuple(case.patches)).digest


def change_a_row(case: Patched) -> None:
    case.model.get_input_embeddings().patchpm_rows[2, 7] += 1e-6


def drop_the_guard(case: Patched) -> None:
    case.model._forward_pre_hooks.clear()


def drop_the_head_hook(case: Patched) -> None:
    case.model.lm_head._forward_hooks.clear()


def replace_the_embedding(case: Patched) -> None:
    case.model.set_input_embeddings(copy.deepcopy(case.base.get_input_embeddings()))


def change_the_size(case: Patched) -> None:
    case.model.config.vocab_size = 7


def replace_the_backend(case: Patched) -> None:
    case.tokenizer._tokenizer = copy.deepcopy(tiny.tokenizer().backend_tokenizer)


def replace_the_template(case: Patched) -> None:
    case.tokenizer.chat_template = tiny.CHATML


def replace_the_normalizer(case: Patched) -> None:
    from tokenizers import normalizers

    case.tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (change_a_row, "rows-changed"),
        (drop_the_guard, "patch-removed"),
        (drop_the_head_hook, "patch-removed"),
        (replace_the_embedding, "patch-removed"),
        (change_the_size, "patch-removed"),
        (replace_the_backend, "patch-removed"),
        (replace_the_template, "template-overridden"),
        (replace_the_normalizer, "template-overridden"),
    ],
)
def test_verify_finds_every_kind_of_damage(damage: Any, code: str) -> None:
    case = Patched()
    damage(case)
    with pytest.raises(PatchpmError) as caught:
        case.applied.verify()
    assert caught.value.code == code
    assert isinstance(caught.value, IntegrityError)


def test_rows_that_lost_bits_on_the_way_are_found() -> None:
    case = Patched()
    case.model.to(torch.bfloat16)
    case.applied.verify()
    case.model.to(torch.float32)
    with pytest.raises(IntegrityError, match="rows-changed"):
        case.applied.verify()


def test_a_second_apply_is_refused_on_the_model_and_on_the_tokenizer() -> None:
    case = Patched()
    for model, tokenizer in ((case.model, tiny.tokenizer()), (tiny.llama(), case.tokenizer)):
        with pytest.raises(UsageError, match="already-applied"):
            attach(model, tokenizer, case.patches)
    case.applied.verify()


def test_apply_after_remove_gives_the_same_again() -> None:
    case = Patched()
    first = case.logits()
    case.applied.remove()
    attach(case.model, case.tokenizer, case.patches)
    assert torch.equal(case.logits(), first)


def test_token_names_are_new_at_every_apply_and_hold_128_random_bits() -> None:
    names = set()
    for _ in range(3):
        case = Patched()
        name = str(case.tokenizer.convert_ids_to_tokens(len(tiny.tokenizer())))
        assert len(bytes.fromhex(name.split(":")[1])) == 16
        names.add(name)
    assert len(names) == 3


def test_decoding_skips_prefix_tokens_as_special_ones() -> None:
    case = Patched()
    ids = case.tokenizer.apply_chat_template([USER], return_dict=True)["input_ids"]
    assert "patchpm" in case.tokenizer.decode(ids)
    assert "patchpm" not in case.tokenizer.decode(ids, skip_special_tokens=True)


def test_a_deep_copy_of_a_patched_model_is_patched_by_itself() -> None:
    case = Patched()
    expected = case.logits()
    twin = copy.deepcopy(case.model)
    case.applied.remove()
    case.model = twin
    with pytest.raises(IntegrityError, match="prefix-missing"):
        case.logits()
    assert twin.get_input_embeddings().patchpm_rows.shape == (12, 32)
    assert expected.shape[-1] == twin.config.vocab_size
