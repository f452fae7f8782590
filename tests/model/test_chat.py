"""A session replies as the model does, streams what it says, and compares with the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from patchpm.errors import CannotError, UsageError
from patchpm.model.apply import attach
from patchpm.model.chat import Session, load_model
from tests.model import tiny

ASK = [{"role": "user", "content": "What is the capital?"}]


def saved(folder: Path) -> Path:
    tiny.llama().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def test_a_folder_is_loaded_with_the_weights_it_has(tmp_path: Path) -> None:
    tiny.llama().to(torch.bfloat16).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    model, tokenizer = load_model(tmp_path, device="cpu")
    expected = tiny.llama().to(torch.bfloat16).state_dict()
    found = model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not model.training
    assert tokenizer.chat_template == tiny.CHATML


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_an_error_with_a_code(tmp_path: Path, name: str) -> None:
    (saved(tmp_path) / name).unlink()
    with pytest.raises(CannotError, match="model-unreadable"):
        load_model(tmp_path)


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    (saved(tmp_path) / "model.safetensors").unlink()
    torch.save(tiny.llama().state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CannotError, match="model-unreadable"):
        load_model(tmp_path)


def test_a_reply_is_greedy_and_streams_what_it_returns() -> None:
    model, tokenizer = tiny.llama(), tiny.tokenizer()
    session, pieces = Session(model, tokenizer), list[str]()
    reply = session.reply(ASK, max_new_tokens=7, on_text=pieces.append)
    batch = tokenizer.apply_chat_template(ASK, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    expected = model.generate(**batch, max_new_tokens=7, do_sample=False)[0, batch["input_ids"].shape[1] :]
    assert reply.text == tokenizer.decode(expected, skip_special_tokens=True) == "".join(pieces)
    assert reply.prompt_tokens == batch["input_ids"].shape[1]
    assert (reply.new_tokens, reply.finished) == (7, False)


def test_a_reply_that_ends_by_itself_is_finished() -> None:
    model = tiny.llama()
    likeliest = Session(model, tiny.tokenizer()).reply(ASK, max_new_tokens=1)
    model.generation_config.eos_token_id = list(range(len(tiny.tokenizer())))
    reply = Session(model, tiny.tokenizer()).reply(ASK, max_new_tokens=7)
    assert reply.finished
    assert reply.new_tokens == likeliest.new_tokens == 1


def test_sampling_depends_on_the_seed_alone_and_leaves_the_global_one() -> None:
    session = Session(tiny.llama(), tiny.tokenizer())
    before = torch.get_rng_state()
    texts = [session.reply(ASK, max_new_tokens=8, temperature=3.0, seed=seed).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_compare_gives_the_reply_of_the_base_and_that_of_the_patched_model() -> None:
    model, tokenizer = tiny.llama(), tiny.tokenizer()
    alone = Session(model, tokenizer).reply(ASK, max_new_tokens=6)
    applied = attach(model, tokenizer, [tiny.patch(tiny.base_of(model, tokenizer))])
    before, after = Session(model, tokenizer, applied).compare(ASK, max_new_tokens=6)
    assert before == alone
    assert after.prompt_tokens == before.prompt_tokens + 5
    assert after.text != before.text
    assert after == Session(model, tokenizer, applied).reply(ASK, max_new_tokens=6)


def test_a_raw_text_is_continued_at_text_start() -> None:
    model, tokenizer = tiny.llama(), tiny.tokenizer(None)
    session = Session(model, tokenizer)
    alone = session.complete("Paris", max_new_tokens=4)
    with attach(model, tokenizer, [tiny.patch(tiny.base_of(model, tokenizer))], anchor="text-start"):
        assert session.complete("Paris", max_new_tokens=4).prompt_tokens == alone.prompt_tokens + 5


def test_a_chat_with_a_model_that_has_no_template_is_an_error_with_a_code() -> None:
    tokenizer: Any = tiny.tokenizer(None)
    with pytest.raises(UsageError, match="no-chat-template"):
        Session(tiny.llama(), tokenizer).reply(ASK)
