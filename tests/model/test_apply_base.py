"""Patches are refused on a model, tokenizer, template or anchor that they are not made for; nothing is changed then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from patchpm.errors import CannotError, IntegrityError, PatchpmError, UsageError
from patchpm.model.apply import attach
from patchpm.patch.digest import Digest
from tests.model import tiny

OTHER = Digest.of(b"another")


class Fresh:
    def __init__(self) -> None:
        self.model: Any = tiny.llama()
        self.tokenizer: Any = tiny.tokenizer()
        self.base = tiny.base_of(self.model, self.tokenizer)

    def refuses(self, *patches: Any, **options: Any) -> PatchpmError:
        backend, template = self.tokenizer.backend_tokenizer, self.tokenizer.chat_template
        with pytest.raises(PatchpmError) as caught:
            attach(self.model, self.tokenizer, patches, **options)
        assert self.tokenizer.backend_tokenizer is backend
        assert self.tokenizer.chat_template is template
        assert type(self.model.get_input_embeddings()) is torch.nn.Embedding
        assert not self.model._forward_pre_hooks
        assert not self.model.lm_head._forward_hooks
        assert "save_pretrained" not in vars(self.model)
        return caught.value


def test_other_weights_are_refused() -> None:
    case = Fresh()
    patch = tiny.patch(replace(case.base, tensors=OTHER, bf16=None))
    error = case.refuses(patch)
    assert error.code == "base-mismatch"
    assert isinstance(error, IntegrityError)
    assert "tiny" in error.why


def test_one_changed_number_in_the_model_is_refused() -> None:
    case = Fresh()
    with torch.no_grad():
        case.model.model.layers[1].mlp.down_proj.weight[3, 3] += 1.0
    assert case.refuses(tiny.patch(case.base)).code == "base-mismatch"


def test_one_patch_for_another_base_among_good_ones_is_refused() -> None:
    case = Fresh()
    other = tiny.patch(replace(case.base, tensors=OTHER, bf16=None), "tiny/two")
    assert case.refuses(tiny.patch(case.base), other).code == "base-mismatch"


def test_a_known_fingerprint_is_taken_instead_of_hashing() -> None:
    case = Fresh()
    found = tiny.fingerprint(case.model)
    with torch.no_grad():
        case.model.model.layers[1].mlp.down_proj.weight[3, 3] += 1.0
    attach(case.model, case.tokenizer, [tiny.patch(case.base)], found=found).remove()
    wrong = replace(found, tensors=OTHER, bf16=None)
    assert case.refuses(tiny.patch(case.base), found=wrong).code == "base-mismatch"


def test_another_width_is_refused() -> None:
    case = Fresh()
    assert case.refuses(tiny.patch(replace(case.base, hidden_size=16))).code == "base-mismatch"
    patch = replace(tiny.patch(case.base), rows=torch.zeros(5, 16))
    assert case.refuses(patch).code == "base-mismatch"


def test_another_tokenizer_is_refused() -> None:
    case = Fresh()
    assert case.refuses(tiny.patch(replace(case.base, tokenizer=OTHER))).code == "tokenizer-mismatch"


def test_a_tokenizer_that_the_manifest_does_not_name_is_not_compared() -> None:
    case = Fresh()
    attach(case.model, case.tokenizer, [tiny.patch(replace(case.base, tokenizer=None, template=None))]).remove()


def test_another_template_is_refused_at_system_start_and_does_not_matter_at_text_start() -> None:
    case = Fresh()
    case.tokenizer.chat_template = tiny.CHATML.replace("helpful", "free")
    assert case.refuses(tiny.patch(case.base)).code == "template-mismatch"
    attach(case.model, case.tokenizer, [tiny.patch(case.base)], anchor="text-start").remove()


def test_an_anchor_that_a_patch_was_not_trained_at_is_refused() -> None:
    case = Fresh()
    error = case.refuses(tiny.patch(case.base, anchors=("text-start",)))
    assert error.code == "anchor-not-trained"
    assert isinstance(error, UsageError)
    assert "text-start" in str(error.next)
    chat_only = tiny.patch(case.base, anchors=("system-start",))
    assert case.refuses(chat_only, anchor="text-start").code == "anchor-not-trained"


def test_an_unknown_anchor_an_empty_set_and_a_patch_given_twice_are_refused() -> None:
    case = Fresh()
    patch = tiny.patch(case.base)
    assert case.refuses(patch, anchor="start").code == "unknown-anchor"
    assert case.refuses().code == "no-patches"
    assert case.refuses(patch, patch).code == "duplicate-patch"


def test_a_model_without_a_head_is_refused() -> None:
    case = Fresh()
    with pytest.raises(CannotError, match="model-unsupported"):
        attach(case.model.model, case.tokenizer, [tiny.patch(case.base)])


def test_a_compiled_wrapper_is_refused_since_its_generate_would_pass_the_guard_by() -> None:
    case = Fresh()
    wrapper: Any = torch.compile(case.model, backend="eager")
    with pytest.raises(CannotError, match="model-unsupported"):
        attach(wrapper, case.tokenizer, [tiny.patch(case.base)])


def clamp(_module: Any, _inputs: Any, output: Any) -> None:
    output.logits.clamp_(-30, 30)


def test_a_model_whose_prefix_tokens_could_be_sampled_is_refused() -> None:
    case = Fresh()
    case.model.register_forward_hook(clamp)
    error = case.refuses(tiny.patch(case.base))
    assert error.code == "patch-ineffective"
    assert "sample" in error.why


def test_a_patch_that_does_not_reach_the_logits_is_refused_and_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Fresh()
    forward = type(case.model.model).forward

    def own_lookup(self: Any, input_ids: Any = None, inputs_embeds: Any = None, **options: Any) -> Any:
        if inputs_embeds is None:
            rows = torch.nn.functional.pad(self.embed_tokens.weight, (0, 0, 0, 8))
            inputs_embeds = torch.nn.functional.embedding(input_ids, rows)
        return forward(self, inputs_embeds=inputs_embeds, **options)

    monkeypatch.setattr(type(case.model.model), "forward", own_lookup)
    error = case.refuses(tiny.patch(case.base))
    assert error.code == "patch-ineffective"
    assert "differ" in error.why
