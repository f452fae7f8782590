"""Tiny random models and tokenizers, built in memory, and patches made for them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from patchpm.model.loaded import LoadedPatch
from patchpm.model.tokenizer_digest import template_digest_of, tokenizer_digest_of
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel, Fingerprint
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful model<|im_end|>\n' }}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As SmolLM2 has it: a default system turn, content as text only."""


@functools.cache
def _backend() -> str:
    corpus = ["assistant You are a helpful model system user assistant What is the capital of France? Paris."] * 4
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=340, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(corpus, trainer)
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return backend.to_str()


def tokenizer(template: str | dict[str, str] | None = CHATML, *, bos: bool = False) -> Any:
    """A byte-level BPE tokenizer with ChatML's special tokens; `bos` makes it put one before raw texts."""
    made: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(_backend()),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        padding_side="left",
    )
    made.chat_template = template
    if bos:
        made.add_bos_token = True
    return made


def llama(*, tied: bool = True, padded: int = 0, seed: int = 0, vocab: int | None = None) -> Any:
    """A random Llama of 32 x 2; `padded` rows more than the tokenizer has tokens."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=(vocab or len(tokenizer())) + padded,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        initializer_range=0.3,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    made: Any = LlamaForCausalLM(config)
    return made.eval()


def gpt2() -> Any:
    """A random GPT-2 of 32 x 2: learned positions, tied head."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_embd=32, n_layer=2, n_head=4, vocab_size=len(tokenizer()), n_positions=512, initializer_range=0.3,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    made: Any = GPT2LMHeadModel(config)
    return made.eval()


def fingerprint(model: Any) -> Fingerprint:
    """The model's real fingerprint, hashed in memory."""
    from patchpm.model.memory import fingerprint_of_model

    return fingerprint_of_model(model)


def base_of(model: Any, tok: Any) -> BaseModel:
    """The base that a patch made for this model names."""
    found = fingerprint(model)
    assert found.tensors is not None
    return BaseModel(
        name="tiny",
        tensors=found.tensors,
        bf16=found.bf16,
        quantised=(),
        files=(),
        tokenizer=tokenizer_digest_of(tok),
        template=template_digest_of(tok),
        hidden_size=int(model.config.hidden_size),
    )


def patch(
    base: BaseModel,
    name: str = "tiny/one",
    *,
    tokens: int = 5,
    seed: int = 1,
    anchors: tuple[str, ...] = ("system-start", "text-start"),
    separator: str = "",
) -> LoadedPatch:
    """A patch of random rows."""
    rows = torch.randn(tokens, base.hidden_size, generator=torch.Generator().manual_seed(seed))
    return LoadedPatch(
        PatchName.parse(name),
        Version.parse("1.0.0"),
        Digest.of(f"{name}{seed}".encode()),
        rows,
        anchors,
        separator,
        base,
    )
