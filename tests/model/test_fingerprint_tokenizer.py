"""The digests of tokenizer and chat template agree wherever the same tokenizer is found."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import pytest
from tokenizers import AddedToken, Tokenizer, models
from transformers import PreTrainedTokenizerFast

from patchpm.errors import CannotError, IntegrityError
from patchpm.model.fingerprint import fingerprint
from patchpm.model.tokenizer_digest import (
    template_digest,
    template_digest_of,
    template_digest_of_folder,
    tokenizer_digest_of,
    tokenizer_digest_of_file,
)
from patchpm.patch.digest import Digest
from tests.model import model_files, tiny

_SMALL = {
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
    "added_tokens": [{"id": 3, "content": "<é>"}],
}


def _file(tmp_path: Path, value: Any, name: str = "tokenizer.json") -> Path:
    path = tmp_path / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_the_digest_is_the_one_that_the_format_describes(tmp_path: Path) -> None:
    text = '{"merges":[["a","b"]],"vocab":[[0,"a"],[1,"b"],[2,"ab"],[3,"<é>"]]}'
    expected = hashlib.sha256(b"patchpm-tokenizer-v1\n" + text.encode()).hexdigest()
    assert str(tokenizer_digest_of_file(_file(tmp_path, _SMALL))) == f"sha256:{expected}"


def test_merges_in_the_older_spelling_and_repeated_tokens_change_nothing(tmp_path: Path) -> None:
    older = {
        "added_tokens": [{"id": 3, "content": "<é>", "special": True}, {"id": 0, "content": "a"}],
        "model": {"vocab": {"ab": 2, "b": 1, "a": 0, "<é>": 3}, "merges": ["a b"]},
        "padding": None,
    }
    assert tokenizer_digest_of_file(_file(tmp_path, older, "older.json")) == tokenizer_digest_of_file(
        _file(tmp_path, _SMALL)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"vocab": {"a": 1, "b": 0, "ab": 2}, "merges": [["a", "b"]]}},
        {"model": {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": []}},
        {"added_tokens": []},
        {"added_tokens": [{"id": 4, "content": "<é>"}]},
    ],
    ids=["ids swapped", "a merge less", "a token less", "another id"],
)
def test_vocabulary_and_merges_count(tmp_path: Path, change: dict[str, Any]) -> None:
    other = tokenizer_digest_of_file(_file(tmp_path, _SMALL | change, "other.json"))
    assert other != tokenizer_digest_of_file(_file(tmp_path, _SMALL))


def test_file_gguf_and_memory_agree(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "tokenizer.json").read_text())
    size = len(tokenizer)
    tokens = cast("list[str]", tokenizer.convert_ids_to_tokens(list(range(size))))
    merges = [" ".join(pair) for pair in stored["model"]["merges"]]
    plain = model_files.gguf_file(tmp_path / "m.gguf", tokens=tokens, merges=merges, template=tiny.CHATML)
    found = fingerprint(plain).fingerprint
    assert merges
    assert found.tokenizer == tokenizer_digest_of(tokenizer) == tokenizer_digest_of_file(tmp_path / "tokenizer.json")
    assert found.template == template_digest_of(tokenizer) == template_digest_of_folder(tmp_path)


def test_placeholders_that_a_converter_adds_do_not_count(tmp_path: Path) -> None:
    plain = fingerprint(model_files.gguf_file(tmp_path / "plain.gguf", types=[1, 1, 1])).fingerprint
    tokens = ["a", "b", "ab", "[PAD3]", "[PAD4]"]
    padded = fingerprint(model_files.gguf_file(tmp_path / "pad.gguf", tokens=tokens, types=[1, 1, 1, 5, 5])).fingerprint
    real = fingerprint(model_files.gguf_file(tmp_path / "real.gguf", tokens=tokens, types=[1, 1, 1, 1, 5])).fingerprint
    named = fingerprint(
        model_files.gguf_file(tmp_path / "name.gguf", tokens=["a", "b", "x"], types=[1, 1, 5])
    ).fingerprint
    assert padded.tokenizer == plain.tokenizer
    assert len({plain.tokenizer, real.tokenizer, named.tokenizer}) == 3


def test_a_sentencepiece_gguf_has_no_tokenizer_digest(tmp_path: Path) -> None:
    assert fingerprint(model_files.gguf_file(tmp_path / "m.gguf", model="llama")).fingerprint.tokenizer is None


def test_more_types_than_tokens_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError) as caught:
        fingerprint(model_files.gguf_file(tmp_path / "m.gguf", types=[1, 1]))
    assert caught.value.code == "malformed-tokenizer"


def test_a_unigram_vocabulary_is_read(tmp_path: Path) -> None:
    backend = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁a", -1.5)], unk_id=0))
    backend.add_special_tokens([AddedToken("<s>", special=True)])
    backend.save(str(tmp_path / "tokenizer.json"))
    loaded = cast("Any", PreTrainedTokenizerFast)(tokenizer_object=backend)
    assert tokenizer_digest_of(loaded) == tokenizer_digest_of_file(tmp_path / "tokenizer.json")


def test_a_token_added_in_memory_changes_the_digest() -> None:
    tokenizer = tiny.tokenizer()
    before = tokenizer_digest_of(tokenizer)
    tokenizer.add_tokens(["<another>"])
    assert tokenizer_digest_of(tokenizer) != before


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(CannotError) as caught:
        tokenizer_digest_of(object())
    assert caught.value.code == "slow-tokenizer"


BAD_TOKENIZERS: dict[str, Any] = {
    "no JSON": "{",
    "not UTF-8": "\udcff",
    "a list": [],
    "no model": {},
    "vocabulary a number": {"model": {"vocab": 1}},
    "id a text": {"model": {"vocab": {"a": "0"}}},
    "id true": {"model": {"vocab": {"a": True}}},
    "id negative": {"model": {"vocab": {"a": -1}}},
    "key twice": '{"model": {"vocab": {"a": 0, "a": 1}}}',
    "merge of one": {"model": {"vocab": {}, "merges": ["a"]}},
    "merge of three": {"model": {"vocab": {}, "merges": [["a", "b", "c"]]}},
    "merges no list": {"model": {"vocab": {}, "merges": {"a": 1}}},
    "added no list": {"model": {"vocab": {}}, "added_tokens": {"a": 1}},
    "added a text": {"model": {"vocab": {}}, "added_tokens": ["a"]},
    "added without id": {"model": {"vocab": {}}, "added_tokens": [{"content": "a"}]},
    "unpaired surrogate": {"model": {"vocab": {"\ud800": 0}}},
    "unigram of numbers": {"model": {"vocab": [1]}},
}


@pytest.mark.parametrize("name", BAD_TOKENIZERS)
def test_a_malformed_tokenizer_is_refused(tmp_path: Path, name: str) -> None:
    path = model_files.folder(tmp_path / "m", model_files.tensors())
    value = BAD_TOKENIZERS[name]
    text = value if isinstance(value, str) else json.dumps(value)
    (path / "tokenizer.json").write_text(text, errors="surrogateescape")
    with pytest.raises(IntegrityError) as caught:
        fingerprint(path)
    assert caught.value.code == "malformed-tokenizer"
    assert "tokenizer.json" in caught.value.what


def test_the_template_is_found_where_transformers_looks(tmp_path: Path) -> None:
    assert template_digest_of_folder(tmp_path) is None
    _file(tmp_path, {"model_max_length": 10**30}, "tokenizer_config.json")
    assert template_digest_of_folder(tmp_path) is None
    _file(tmp_path, {"chat_template": "in the config"}, "tokenizer_config.json")
    assert template_digest_of_folder(tmp_path) == template_digest("in the config")
    several = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "the default"}]
    _file(tmp_path, {"chat_template": several}, "tokenizer_config.json")
    assert template_digest_of_folder(tmp_path) == template_digest("the default")
    (tmp_path / "chat_template.jinja").write_text("its own file")
    assert template_digest_of_folder(tmp_path) == template_digest("its own file")


def test_line_ends_of_a_template_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"a\r\nb")
    assert template_digest_of_folder(tmp_path) == Digest.of(b"a\nb")


def test_a_template_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(IntegrityError) as caught:
        template_digest_of_folder(tmp_path)
    assert caught.value.code == "malformed-tokenizer"


def test_a_loaded_tokenizer_s_default_template_is_the_one() -> None:
    several = tiny.tokenizer({"default": "the default", "rag": "another"})
    assert template_digest_of(several) == template_digest("the default")
    assert template_digest_of(tiny.tokenizer(None)) is None
