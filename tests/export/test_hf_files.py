"""What lies in an exported folder, and what becomes of the base's own files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from patchpm.export.linked_file import Way
from patchpm.export.provenance import read_provenance
from patchpm.model.fingerprint import fingerprint
from patchpm.model.hash_cache import HashCache
from patchpm.model.safetensors_folder import ModelFolder
from patchpm.patch.fingerprint import Assurance
from tests.export.exports import BRIEF, CAPITAL, answered, change, write_base
from tests.model import tiny

TOOL = {"type": "function", "function": {"name": "weather", "description": "x", "parameters": {"type": "object"}}}
NAMED = {"default": tiny.CHATML, "tool_use": tiny.CHATML + "{# tools #}"}


def sharded(path: Path, **options: Any) -> Any:
    return write_base(path, tiny.llama(**options), shard="30KB")


def shards_written(folder: Path, base: Path) -> set[str]:
    return {
        tensor.path.name
        for tensor in ModelFolder(folder).tensors()
        if not tensor.path.samefile(base / tensor.path.name)
    }


def test_only_the_shards_with_embedding_and_head_are_written(tmp_path: Path) -> None:
    base = sharded(tmp_path / "base", tied=False)

    made = base.export(tmp_path / "out")

    weights = {tensor.name: tensor.path.name for tensor in ModelFolder(tmp_path / "out").tensors()}
    tables = {weights["model.embed_tokens.weight"], weights["lm_head.weight"]}
    assert shards_written(tmp_path / "out", base.folder) == tables
    assert dict(made.ways) == {Way.HARD_LINK: len(set(weights.values())) - len(tables)}
    assert answered(tmp_path / "out", CAPITAL)[0] == base.expected(CAPITAL)[0]


def test_the_index_of_shards_says_what_is_in_them(tmp_path: Path) -> None:
    base = sharded(tmp_path / "base")
    base.export(tmp_path / "out")

    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    tensors = ModelFolder(tmp_path / "out").tensors()

    assert index["weight_map"]["lm_head.weight"] == index["weight_map"]["model.embed_tokens.weight"]
    assert index["metadata"]["total_size"] == sum(tensor.size for tensor in tensors)


def test_a_copied_export_shares_no_file_with_its_base(tmp_path: Path) -> None:
    base = sharded(tmp_path / "base")

    made = base.export(tmp_path / "out", link=False)

    assert shards_written(tmp_path / "out", base.folder) == set(ModelFolder(tmp_path / "out").shards)
    assert made.linked == 0


def test_a_snapshot_of_links_gives_an_export_of_files(tmp_path: Path) -> None:
    base = sharded(tmp_path / "blobs")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in base.folder.iterdir():
        (snapshot / path.name).symlink_to(path)
    base.folder = snapshot

    base.export(tmp_path / "out")

    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())
    assert answered(tmp_path / "out", CAPITAL)[0] == base.expected(CAPITAL)[0]


def test_a_linked_base_need_not_be_hashed_again(tmp_path: Path) -> None:
    base = sharded(tmp_path / "base", tied=False)
    cache = HashCache(tmp_path / "hashes")
    for path in base.folder.iterdir():
        os.utime(path, (1, 1))
    settled = HashCache(tmp_path / "hashes", now=lambda: 2**62)
    fingerprint(base.folder, cache=settled)

    base.export(tmp_path / "out", cache=cache)

    assert fingerprint(base.folder, cache=cache).assurance is Assurance.CACHED
    (tmp_path / "out" / ModelFolder(base.folder).shards[1]).write_bytes(b"changed")
    with pytest.raises(Exception, match="cut off"):
        fingerprint(base.folder, cache=cache)


def test_weights_of_other_kinds_and_code_are_left_out(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", tiny.llama())
    for name in ("pytorch_model.bin", "consolidated.safetensors", "modeling.py", "vocab.json", "LICENSE", ".hidden"):
        (base.folder / name).write_text("x")

    base.export(tmp_path / "out")

    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "LICENSE", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "patchpm.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


def test_the_rest_of_the_base_is_kept_to_the_byte(tmp_path: Path) -> None:
    base = sharded(tmp_path / "base", tied=False)
    changed = {"model.embed_tokens.weight", "lm_head.weight"}
    before = {tensor.name: data(tensor) for tensor in ModelFolder(base.folder).tensors()}
    rows = len(tiny.tokenizer())

    base.export(tmp_path / "out")

    for tensor in ModelFolder(tmp_path / "out").tensors():
        kept = data(tensor)
        assert (kept[: rows * 32 * 4] if tensor.name in changed else kept) == before[tensor.name]


def data(tensor: Any) -> bytes:
    with tensor.path.open("rb") as file:
        file.seek(tensor.offset)
        return bytes(file.read(tensor.size))


@pytest.mark.parametrize("messages", [CAPITAL, BRIEF], ids=["no-system-text", "own-system-text"])
@pytest.mark.parametrize("tools", [None, [TOOL]], ids=["no-tools", "tools"])
def test_every_prompt_carries_the_prefix_once(messages: Any, tools: Any, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", tiny.llama())
    ours = base.export(tmp_path / "out").provenance

    exported: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = exported.apply_chat_template(list(messages), tools=tools, add_generation_prompt=True)["input_ids"]
    plain = base.tokenizer().apply_chat_template(list(messages), tools=tools, add_generation_prompt=True)["input_ids"]

    assert [one for one in ids if one >= ours.first_id] == list(range(ours.first_id, ours.first_id + ours.ids))
    assert len(ids) == len(plain) + ours.run_tokens
    assert "patchpm" not in exported.decode(ids, skip_special_tokens=True)


def test_named_templates_are_all_written(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", tiny.llama(), tiny.tokenizer(NAMED))
    base.export(tmp_path / "out")

    templates = AutoTokenizer.from_pretrained(tmp_path / "out").chat_template

    assert set(templates) == set(NAMED)
    assert all("patchpm" in template for template in templates.values())


@pytest.mark.parametrize("template", [tiny.CHATML, NAMED], ids=["one", "named"])
def test_a_template_in_the_tokenizers_configuration_is_written_there(template: Any, tmp_path: Path) -> None:
    path = tmp_path / "base"
    write_base(path, tiny.llama(), tiny.tokenizer(tiny.CHATML))
    (path / "chat_template.jinja").unlink()
    entries = [{"name": name, "template": text} for name, text in NAMED.items()]
    change(path / "tokenizer_config.json", chat_template=template if isinstance(template, str) else entries)
    base = type(write_base(tmp_path / "other", tiny.llama())).of(path)

    base.export(tmp_path / "out")

    assert not (tmp_path / "out/chat_template.jinja").exists()
    assert "patchpm" in json.dumps(json.loads((tmp_path / "out/tokenizer_config.json").read_text())["chat_template"])
    assert answered(tmp_path / "out", CAPITAL)[0] == base.expected(CAPITAL)[0]


def test_sizes_in_a_nested_configuration_are_changed_as_well() -> None:
    from patchpm.export.configuration import with_vocabulary

    config = {"vocab_size": 5, "text_config": {"vocab_size": 5, "hidden_size": 3}, "vision_config": {"a": 1}}

    new = with_vocabulary(config, 64)

    assert new == {
        "vocab_size": 64, "tie_word_embeddings": False, "vision_config": {"a": 1},
        "text_config": {"vocab_size": 64, "hidden_size": 3, "tie_word_embeddings": False},
    }  # fmt: skip


def test_the_tokens_of_the_patches_are_suppressed_beside_those_of_the_base(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", tiny.llama())
    change(base.folder / "generation_config.json", suppress_tokens=[3], temperature=0.5)

    ours = base.export(tmp_path / "out").provenance

    written = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert written["suppress_tokens"] == [3, *range(ours.first_id, ours.first_id + ours.ids)]
    assert written["temperature"] == 0.5


def test_an_export_says_what_it_was_made_of(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", tiny.llama())
    made = base.export(tmp_path / "out")

    found = read_provenance(tmp_path / "out")

    assert found == made.provenance
    assert found.set == base.patches.digest
    assert found.base.tensors == base.found.tensors
    assert [str(patch.name) for patch in found.patches] == ["tiny/one", "tiny/two"]
    assert (found.ids, found.run_tokens) == (8, 8 + len(base.tokenizer()("\n")["input_ids"]))
