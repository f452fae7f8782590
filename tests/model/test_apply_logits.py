"""Logits of a patched model are those of the base over explicit embeddings, by whatever way tokens are generated."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
import torch
from transformers import TextGenerationPipeline, TextStreamer

from patchpm.errors import IntegrityError
from patchpm.model.applied import Applied
from patchpm.model.apply import attach
from patchpm.model.loaded import LoadedPatch
from tests.model import reference, tiny

STEPS = 6
USERS = ("What is the capital of France?", "Paris.")


@dataclass
class Case:
    """A patched model, and the base beside it."""

    model: Any
    tokenizer: Any
    base: Any
    patches: list[LoadedPatch]
    applied: Applied

    @property
    def prefix_ids(self) -> slice:
        first = len(tiny.tokenizer())
        return slice(first, first + sum(patch.tokens for patch in self.patches))

    def chats(self) -> list[list[dict[str, str]]]:
        return [[{"role": "user", "content": user}] for user in USERS]

    def batch(self, size: int = 2) -> Any:
        return self.tokenizer.apply_chat_template(
            self.chats()[:size], add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )

    def expected(self, row: int) -> tuple[list[int], torch.Tensor]:
        before = tiny.tokenizer()("<|im_start|>system\n")["input_ids"]
        text = tiny.tokenizer().apply_chat_template(self.chats()[row], add_generation_prompt=True, tokenize=False)
        after = tiny.tokenizer()(text)["input_ids"][len(before) :]
        return reference.greedy(
            self.base, reference.embeddings(self.base, before, self.patches, after), STEPS, self.prefix_ids
        )


def patched(make: Callable[[], Any] = tiny.llama) -> Case:
    model, tokenizer = make(), tiny.tokenizer()
    base = tiny.base_of(model, tokenizer)
    patches = [tiny.patch(base), tiny.patch(base, "tiny/two", tokens=3, seed=2)]
    untouched = copy.deepcopy(model)
    return Case(model, tokenizer, untouched, patches, attach(model, tokenizer, patches))


MODELS = {
    "llama-tied": tiny.llama,
    "llama-untied": lambda: tiny.llama(tied=False),
    "llama-padded-vocabulary": lambda: tiny.llama(padded=4),
    "llama-much-padded-vocabulary": lambda: tiny.llama(padded=64, tied=False),
    "gpt2": tiny.gpt2,
}


def generate(case: Case, size: int = 2, **options: Any) -> tuple[list[list[int]], torch.Tensor]:
    """New token ids by row, and the logits, `(rows, steps, vocabulary of the base)`."""
    batch = case.batch(size)
    out = case.model.generate(
        **batch, max_new_tokens=STEPS, do_sample=False, return_dict_in_generate=True, output_logits=True, **options
    )
    vocabulary = case.base.get_output_embeddings().weight.shape[0]
    logits = torch.stack(out.logits, dim=1)[..., :vocabulary]
    return out.sequences[:, batch["input_ids"].shape[1] :].tolist(), logits


def assert_as_expected(case: Case, rows: list[list[int]], logits: torch.Tensor | None) -> None:
    for number, row in enumerate(rows):
        ids, exact = case.expected(number)
        assert row == ids
        if logits is not None:
            assert (logits[number] - exact).abs().max() < 1e-4


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_a_left_padded_batch_gives_the_logits_of_explicit_embeddings(make: Callable[[], Any]) -> None:
    case = patched(make)
    assert int(case.batch()["attention_mask"].min()) == 0
    assert_as_expected(case, *generate(case))


def test_the_patch_changes_the_logits_at_all() -> None:
    case = patched()
    with case.applied.disabled():
        _, without = generate(case, 1)
    assert (generate(case, 1)[1] - without).abs().max() > 1e-2


@pytest.mark.parametrize("cache", ["static", "dynamic"])
def test_every_kind_of_cache_gives_the_logits_of_explicit_embeddings(cache: str) -> None:
    case = patched()
    assert_as_expected(case, *generate(case, cache_implementation=cache))


def test_a_reset_static_cache_starts_a_sequence_again() -> None:
    from transformers import StaticCache

    case = patched()
    cache: Any = StaticCache(config=case.model.config, max_cache_len=128)
    assert_as_expected(case, *generate(case, past_key_values=cache))
    cache.reset()
    assert_as_expected(case, *generate(case, past_key_values=cache))


def test_no_cache_at_all_gives_the_logits_of_explicit_embeddings() -> None:
    case = patched()
    assert_as_expected(case, *generate(case, use_cache=False))


def test_beams_find_what_beams_find_over_explicit_embeddings() -> None:
    case = patched()
    batch = case.batch()
    found = case.model.generate(**batch, max_new_tokens=STEPS, do_sample=False, num_beams=4, num_return_sequences=2)
    for number in range(2):
        before = tiny.tokenizer()("<|im_start|>system\n")["input_ids"]
        text = tiny.tokenizer().apply_chat_template(case.chats()[number], add_generation_prompt=True, tokenize=False)
        start = reference.embeddings(
            case.base, before, case.patches, tiny.tokenizer()(text)["input_ids"][len(before) :]
        )
        exact = case.base.generate(
            inputs_embeds=start,
            attention_mask=torch.ones(start.shape[:2], dtype=torch.long),
            max_new_tokens=STEPS, do_sample=False, num_beams=4, num_return_sequences=2,
        )  # fmt: skip
        assert found[2 * number : 2 * number + 2, batch["input_ids"].shape[1] :].tolist() == exact.tolist()


def test_prompt_lookup_gives_the_greedy_reply() -> None:
    case = patched()
    assert_as_expected(case, *generate(case, 1, prompt_lookup_num_tokens=4))


def test_prompt_lookup_never_proposes_prefix_tokens() -> None:
    case = patched()
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "system"}]
    text = case.tokenizer.apply_chat_template(chat, tokenize=False)
    batch = case.tokenizer(text + "<|im_start|>system\n", return_tensors="pt", add_special_tokens=False)
    by_lookup = case.model.generate(**batch, max_new_tokens=STEPS, do_sample=False, prompt_lookup_num_tokens=4)
    assert by_lookup.tolist() == case.model.generate(**batch, max_new_tokens=STEPS, do_sample=False).tolist()


def test_assisted_decoding_with_a_copy_of_the_patched_model_gives_the_greedy_reply() -> None:
    case = patched()
    assert_as_expected(case, *generate(case, 1, assistant_model=copy.deepcopy(case.model)))


def in_one_continuous_batch(case: Case, prompts: list[list[int]]) -> list[Any]:
    from transformers import ContinuousBatchingConfig, GenerationConfig

    found = case.model.generate_batch(
        inputs=prompts,
        generation_config=cast("Any", GenerationConfig)(
            max_new_tokens=STEPS, do_sample=False, eos_token_id=-1, pad_token_id=0
        ),
        continuous_batching_config=ContinuousBatchingConfig(num_blocks=64, max_batch_tokens=256),
        progress_bar=False,
    )
    return [found[name] for name in sorted(found)]


def test_continuous_batching_gives_the_greedy_replies() -> None:
    case = patched()
    prompts = [
        case.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
        for chat in case.chats()
    ]
    replies = in_one_continuous_batch(case, prompts)
    assert_as_expected(case, [reply.generated_tokens for reply in replies], None)


def test_continuous_batching_fails_a_request_without_the_prefix() -> None:
    (reply,) = in_one_continuous_batch(patched(), [tiny.tokenizer()("Paris is")["input_ids"]])
    assert reply.generated_tokens == []
    assert "prefix-missing" in reply.error


def test_streaming_gives_the_greedy_reply_without_prefix_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    case = patched()
    streamer = TextStreamer(case.tokenizer, skip_special_tokens=True)
    rows, logits = generate(case, 1, streamer=streamer)
    assert_as_expected(case, rows, logits)
    printed = capsys.readouterr().out
    assert "patchpm" not in printed
    assert tiny.tokenizer().decode(rows[0], skip_special_tokens=True) in printed


def test_a_pipeline_gives_the_greedy_replies() -> None:
    case = patched()
    pipeline = cast("Any", TextGenerationPipeline)(model=case.model, tokenizer=case.tokenizer)
    replies = pipeline(case.chats(), batch_size=2, max_new_tokens=STEPS, do_sample=False)
    for number, reply in enumerate(replies):
        expected = tiny.tokenizer().decode(case.expected(number)[0], skip_special_tokens=True)
        assert reply[0]["generated_text"][-1]["content"] == expected


def test_repetition_penalty_reads_the_prompt_with_prefix_tokens_in_it() -> None:
    case = patched()
    batch = case.batch()
    found = case.model.generate(
        **batch, max_new_tokens=STEPS, do_sample=False, repetition_penalty=1.3, no_repeat_ngram_size=2
    )
    assert int(found[:, batch["input_ids"].shape[1] :].max()) < case.prefix_ids.start


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_sampling_never_gives_a_prefix_token(make: Callable[[], Any]) -> None:
    case = patched(make)
    torch.manual_seed(0)
    batch = case.batch(1)
    out = case.model.generate(
        **batch, max_new_tokens=20, do_sample=True, temperature=5.0, top_k=0, num_return_sequences=50
    )
    new = out[:, batch["input_ids"].shape[1] :]
    ids = case.prefix_ids
    assert not ((new >= ids.start) & (new < ids.stop)).any()


def test_a_loss_over_patched_input_is_that_over_explicit_embeddings() -> None:
    case = patched()
    batch = case.batch(1)
    labels = batch["input_ids"].clone()
    labels[:, :20] = -100
    loss = case.model(**batch, labels=labels).loss
    loss.backward()
    before = tiny.tokenizer()("<|im_start|>system\n")["input_ids"]
    text = tiny.tokenizer().apply_chat_template(case.chats()[0], add_generation_prompt=True, tokenize=False)
    start = reference.embeddings(case.base, before, case.patches, tiny.tokenizer()(text)["input_ids"][len(before) :])
    assert torch.allclose(loss, case.base(inputs_embeds=start, labels=labels).loss, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_the_same_logits_as_explicit_embeddings(dtype: torch.dtype) -> None:
    case = patched(lambda: tiny.llama().to(dtype))
    assert case.applied.verify().largest_difference == 0.0


def test_a_model_that_is_moved_to_another_type_while_patched_takes_its_rows_along() -> None:
    case = patched()
    case.model.to(torch.bfloat16)
    assert case.applied.verify().largest_difference == 0.0


def test_a_capped_head_stays_closed() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    def gemma() -> Any:
        torch.manual_seed(0)
        made: Any = Gemma2ForCausalLM(
            Gemma2Config(
                hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                head_dim=8, vocab_size=len(tiny.tokenizer()), initializer_range=0.3, pad_token_id=None,
                bos_token_id=None, eos_token_id=None,
            )
        )  # fmt: skip
        return made.eval()

    case = patched(gemma)
    assert_as_expected(case, *generate(case))
    assert_as_expected(case, *generate(case, cache_implementation="static"))


def test_a_state_space_model_gives_the_greedy_reply_and_stays_guarded() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    def mamba() -> Any:
        torch.manual_seed(0)
        config = MambaConfig(
            hidden_size=32, num_hidden_layers=2, vocab_size=len(tiny.tokenizer()), initializer_range=0.3
        )
        config.pad_token_id = config.bos_token_id = config.eos_token_id = None
        made: Any = MambaForCausalLM(config)
        return made.eval()

    case = patched(mamba)
    assert_as_expected(case, *generate(case, 1))
    with pytest.raises(IntegrityError, match="prefix-missing"):
        case.model.generate(**tiny.tokenizer()("Paris", return_tensors="pt"), max_new_tokens=2)


def test_hooks_that_a_library_put_on_the_embedding_keep_working() -> None:
    hooks: Any = importlib.import_module("accelerate.hooks")

    def hooked() -> Any:
        model = tiny.llama()
        hooks.add_hook_to_module(model.get_input_embeddings(), hooks.AlignDevicesHook("cpu", io_same_device=True))
        return model

    case = patched(hooked)
    assert_as_expected(case, *generate(case))
    case.applied.remove()
    embedding = case.model.get_input_embeddings()
    assert "forward" in vars(embedding)
    hooks.remove_hook_from_module(embedding)
    assert type(embedding) is torch.nn.Embedding


@pytest.mark.slow
def test_a_compiled_forward_gives_the_greedy_reply() -> None:
    case = patched()
    case.model.forward = cast("Any", torch).compile(case.model.forward, backend="eager", fullgraph=True, dynamic=True)
    assert_as_expected(case, *generate(case, 1))


@pytest.mark.slow
def test_a_compiled_model_gives_the_greedy_reply_and_stays_guarded() -> None:
    case = patched()
    compiled = cast("Any", torch).compile(case.model, backend="eager", dynamic=True)
    batch = case.batch(1)
    last = compiled(**batch).logits[0, -1]
    assert int(last.argmax()) == case.expected(0)[0][0]
    bare = tiny.tokenizer()("Paris", return_tensors="pt")
    with pytest.raises(IntegrityError, match="prefix-missing"):
        compiled(**bare)
