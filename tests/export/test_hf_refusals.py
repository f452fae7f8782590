"""What is not exported, and what an export that fails leaves behind: nothing."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from patchpm.errors import CannotError, IntegrityError, PatchpmError, UsageError
from patchpm.export import hf_folder
from patchpm.export.forward_check import largest_difference
from patchpm.model.loaded import PatchSet
from tests.export.exports import Base, change, write_base
from tests.model import tiny


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return write_base(tmp_path / "base", tiny.llama())


def refused(base: Base, out: Path, code: str, **options: Any) -> PatchpmError:
    before = sorted(out.parent.iterdir())
    with pytest.raises(PatchpmError) as caught:
        base.export(out, **options)
    assert caught.value.code == code
    assert sorted(out.parent.iterdir()) == before
    return caught.value


def test_a_folder_with_something_in_it_is_never_replaced(base: Base, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("x")

    refused(base, tmp_path / "out", "output-exists", replace=True)

    assert (tmp_path / "out/mine").read_text() == "x"


def test_an_empty_folder_is_taken(base: Base, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    base.export(tmp_path / "out")

    assert (tmp_path / "out/patchpm.json").is_file()


def test_an_earlier_export_is_replaced_only_if_that_is_asked_for(base: Base, tmp_path: Path) -> None:
    base.export(tmp_path / "out")
    refused(base, tmp_path / "out", "output-exists")
    (tmp_path / "out/LICENSE").write_text("of the first")

    base.export(tmp_path / "out", replace=True)

    assert not (tmp_path / "out/LICENSE").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "out"]


def test_the_base_itself_is_not_replaced(base: Base) -> None:
    refused(base, base.folder, "output-exists", replace=True)


@pytest.mark.parametrize("blow", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_export_that_is_interrupted_leaves_nothing(
    base: Base, blow: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strike(*_: Any) -> None:
        raise blow

    base.export(tmp_path / "out")
    before = (tmp_path / "out/tokenizer.json").read_bytes()
    monkeypatch.setattr(hf_folder, "check_folder", strike)

    with pytest.raises((KeyboardInterrupt, CannotError)) as caught:
        base.export(tmp_path / "out", replace=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "out"]
    assert (tmp_path / "out/tokenizer.json").read_bytes() == before
    assert not isinstance(caught.value, CannotError) or caught.value.code == "disk-full"


def test_another_anchor_is_not_exported(base: Base, tmp_path: Path) -> None:
    base.patches = PatchSet("text-start", base.patches.patches)

    refused(base, tmp_path / "out", "anchor-not-exportable")


def test_a_base_that_the_patches_are_not_made_for_is_refused(base: Base, tmp_path: Path) -> None:
    other = write_base(tmp_path / "other", tiny.llama(seed=7))
    base.folder, base.found = other.folder, other.found

    refused(base, tmp_path / "out", "base-mismatch")


def test_another_template_is_refused(base: Base, tmp_path: Path) -> None:
    (base.folder / "chat_template.jinja").write_text(tiny.CHATML + "{# other #}")

    refused(base, tmp_path / "out", "template-mismatch")


def test_an_embedding_of_integers_is_refused(base: Base, tmp_path: Path) -> None:
    path = base.folder / "model.safetensors"
    weights = load_file(path)
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"].to(torch.int8)
    save_file(weights, path)

    refused(Base.of(base.folder), tmp_path / "out", "embedding-not-float")


def test_a_model_that_needs_code_of_its_own_is_refused(base: Base, tmp_path: Path) -> None:
    change(base.folder / "config.json", model_type="acme", auto_map={"AutoModelForCausalLM": "acme.Acme"})

    refused(base, tmp_path / "out", "model-unreadable")


def test_a_head_under_an_unknown_name_is_refused(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", tiny.llama(tied=False))
    path = base.folder / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.qweight"] = weights.pop("lm_head.weight")
    save_file(weights, path)

    refused(Base.of(base.folder), tmp_path / "out", "model-unsupported")


def test_rows_that_a_half_precision_base_cannot_hold_are_refused(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", tiny.llama().to(torch.float16))
    one, two = base.patches.patches
    base.patches = PatchSet(base.patches.anchor, (replace(one, rows=one.rows * 1e6), two))

    refused(base, tmp_path / "out", "rows-too-large")


def test_the_check_finds_rows_that_are_not_the_patches(base: Base, tmp_path: Path) -> None:
    base.export(tmp_path / "out")
    path = tmp_path / "out/model.safetensors"
    weights = load_file(path)
    weights["model.embed_tokens.weight"][-64:] *= 2
    save_file(weights, path, metadata={"format": "pt"})

    with pytest.raises(IntegrityError, match="export-differs"):
        largest_difference(tmp_path / "out", base.folder, base.patches)


def test_the_check_finds_a_head_that_says_the_patches_tokens(base: Base, tmp_path: Path) -> None:
    base.export(tmp_path / "out")
    path = tmp_path / "out/model.safetensors"
    weights = load_file(path)
    del weights["lm_head.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    change(tmp_path / "out/config.json", tie_word_embeddings=True)

    with pytest.raises(IntegrityError, match="export-differs"):
        largest_difference(tmp_path / "out", base.folder, base.patches)


def test_nothing_to_apply_is_refused(base: Base, tmp_path: Path) -> None:
    base.patches = PatchSet("system-start", ())

    with pytest.raises(UsageError, match="no-patches"):
        base.export(tmp_path / "out")


def test_json_that_nobody_could_mean_is_refused(base: Base, tmp_path: Path) -> None:
    text = json.dumps(json.loads((base.folder / "config.json").read_text()))
    (base.folder / "config.json").write_text(text[:-1] + ', "hidden_size": 8}')

    refused(base, tmp_path / "out", "malformed-config")


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "a b", ""])
def test_path_traversal_by_the_name_of_a_template(tmp_path: Path, name: str) -> None:
    base = write_base(tmp_path / "base", tiny.llama())
    (base.folder / "chat_template.jinja").unlink(missing_ok=True)
    (base.folder / "additional_chat_templates").mkdir()
    entries = [{"name": one, "template": tiny.CHATML} for one in ("default", "tool_use", name)]
    change(base.folder / "tokenizer_config.json", chat_template=entries)
    unpinned = [replace(one, base=replace(one.base, template=None)) for one in base.patches.patches]
    base.patches = PatchSet("system-start", tuple(unpinned))

    refused(base, tmp_path / "out", "malformed-tokenizer")


def test_suppressed_tokens_that_are_no_list_are_refused(base: Base, tmp_path: Path) -> None:
    (base.folder / "generation_config.json").write_text('{"suppress_tokens": 5}')

    refused(base, tmp_path / "out", "malformed-config")


def test_half_a_character_in_the_configuration_stays_what_it_was(base: Base, tmp_path: Path) -> None:
    change(base.folder / "config.json", note="\ud800")

    base.export(tmp_path / "out")

    assert json.loads((tmp_path / "out/config.json").read_text())["note"] == "\ud800"
