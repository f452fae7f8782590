"""A patched GGUF file: the stock model, a larger vocabulary, and a chat template that writes the prefix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from patchpm.errors import CannotError, IntegrityError, PatchpmError, UsageError
from patchpm.export.patched_gguf import place_in_gguf, write_patched_gguf
from patchpm.model.causal_lm import encode
from patchpm.patch.digest import Digest
from tests.export import gguf_model
from tests.export.gguf_model import Shape
from tests.model import reference, tiny

TOKENS = len(tiny.tokenizer())


def load(path: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    config: Any = GgufConfig(dequantize=True)
    model: Any = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, quantization_config=config, dtype=torch.float32
    )
    return model.eval(), AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_only_the_vocabulary_changes_whatever_the_embedding_is_made_of(tmp_path: Path, kind: str) -> None:
    done = gguf_model.patched(tmp_path, Shape(embedding=kind, scores=True))
    before, stock = gguf_model.read(done.stock)
    after, tensors = gguf_model.read(done.path)
    changed = {key for key in after if before.get(key) != after[key]}
    assert changed == {
        "llama.vocab_size", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores",
        "tokenizer.ggml.suppress_tokens", "tokenizer.chat_template",
        "patchpm.set", "patchpm.patches", "patchpm.tokens", "patchpm.base",
    }  # fmt: skip
    assert after["tokenizer.ggml.tokens"] == [*before["tokenizer.ggml.tokens"], *done.names]
    assert after["tokenizer.ggml.token_type"][TOKENS:] == [gguf.TokenType.CONTROL] * 5
    assert after["tokenizer.ggml.scores"] == [*before["tokenizer.ggml.scores"], *[0.0] * 5]
    assert after["tokenizer.ggml.suppress_tokens"] == list(range(TOKENS, TOKENS + 5))
    assert after["llama.vocab_size"] == TOKENS + 5
    assert after["patchpm.set"] == str(done.patches.digest)
    assert list(after["patchpm.patches"]) == ["tiny/one 1.0.0"]
    assert tensors.keys() == stock.keys()
    for name in stock.keys() - {"token_embd.weight"}:
        assert np.array_equal(tensors[name].data, stock[name].data)
    embedding = gguf_model.numbers(tensors["token_embd.weight"])
    assert tensors["token_embd.weight"].tensor_type.name == ("Q8_0" if kind == "Q4_0" else kind)
    assert np.allclose(embedding[:TOKENS], gguf_model.numbers(stock["token_embd.weight"]), atol=0.01)
    rows = done.patches.patches[0].rows.numpy()
    assert np.abs(embedding[TOKENS:] - rows).max() <= {"F32": 0, "F16": 2e-3}.get(kind, 2e-2)


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_a_plain_loader_gets_the_logits_of_the_prefix(tmp_path: Path, kind: str) -> None:
    done = gguf_model.patched(tmp_path, Shape(embedding=kind))
    base, _ = load(done.stock)
    model, tokenizer = load(done.path)
    for conversation, proven in done.proofs:
        assert encode(tokenizer, conversation.render(tokenizer) or "") == proven
    ids = list(done.proofs[0][1])
    start = ids.index(done.first)
    start_of = reference.embeddings(base, ids[:start], done.patches.patches, ids[start + 5 :])
    with torch.no_grad():
        expected = base(inputs_embeds=start_of).logits[0, -1]
        found = model(torch.tensor([ids])).logits[0, -1, :TOKENS]
    assert torch.allclose(found, expected, atol=1e-4 if kind == "F32" else 0.1)


def test_an_untied_copy_has_a_head_that_never_writes_a_prefix_token(tmp_path: Path) -> None:
    done = gguf_model.patched(tmp_path, Shape(embedding="Q8_0"), untie=True)
    _, stock = gguf_model.read(done.stock)
    _, tensors = gguf_model.read(done.path)
    assert not done.made.tied
    assert np.array_equal(tensors["output.weight"].data[:TOKENS], stock["token_embd.weight"].data)
    rows = gguf_model.numbers(tensors["output.weight"])[TOKENS:]
    said = gguf_model.numbers(tensors["token_embd.weight"])[TOKENS:]
    assert np.array_equal(rows, np.broadcast_to(rows[0], rows.shape))
    assert not any(np.allclose(row, rows[0], atol=2e-3) for row in said)


@pytest.mark.parametrize("head", ["F32", "Q4_0"])
def test_a_head_of_its_own_gets_rows_that_are_not_the_prefix(tmp_path: Path, head: str) -> None:
    done = gguf_model.patched(tmp_path, Shape(tied=False, head=head))
    _, stock = gguf_model.read(done.stock)
    _, tensors = gguf_model.read(done.path)
    assert not done.made.tied
    assert tensors["output.weight"].tensor_type.name == head
    assert np.array_equal(tensors["output.weight"].data[:TOKENS], stock["output.weight"].data)
    new = gguf_model.numbers(tensors["output.weight"])[TOKENS:]
    mean = gguf_model.numbers(stock["output.weight"]).mean(axis=0)
    assert new.shape == (5, 32)
    assert all(float(row @ mean) > 0.3 * np.linalg.norm(row) * np.linalg.norm(mean) for row in new)


def test_spare_rows_of_a_padded_vocabulary_are_taken_and_no_shape_changes(tmp_path: Path) -> None:
    done = gguf_model.patched(tmp_path, Shape(padded=8, tied=False))
    before, stock = gguf_model.read(done.stock)
    after, tensors = gguf_model.read(done.path)
    assert after["tokenizer.ggml.tokens"][TOKENS : TOKENS + 5] == list(done.names)
    assert after["tokenizer.ggml.tokens"][TOKENS + 5 :] == before["tokenizer.ggml.tokens"][TOKENS + 5 :]
    assert after["tokenizer.ggml.token_type"][TOKENS:] == [gguf.TokenType.CONTROL] * 5 + [gguf.TokenType.UNUSED] * 3
    rows = np.array_equal(tensors["token_embd.weight"].data[TOKENS : TOKENS + 5], done.patches.patches[0].rows.numpy())
    assert rows
    assert all(tensors[name].data.shape == stock[name].data.shape for name in stock)


def test_more_rows_than_the_padding_has_grow_the_vocabulary(tmp_path: Path) -> None:
    done = gguf_model.patched(tmp_path, Shape(padded=3))
    after, tensors = gguf_model.read(done.path)
    assert after["tokenizer.ggml.tokens"][TOKENS:] == list(done.names)
    assert np.array_equal(tensors["token_embd.weight"].data[TOKENS:], done.patches.patches[0].rows.numpy())


def test_every_named_template_writes_the_prefix(tmp_path: Path) -> None:
    tools = tiny.CHATML.replace("You are a helpful model", "You call tools")
    done = gguf_model.patched(tmp_path, Shape(templates={"": tiny.CHATML, "tool_use": tools}))
    after, _ = gguf_model.read(done.path)
    assert "".join(done.names) in after["tokenizer.chat_template"]
    assert "".join(done.names) in after["tokenizer.chat_template.tool_use"]
    assert after["tokenizer.chat_template.tool_use"].endswith(tools)


def test_a_file_without_token_types_gets_them(tmp_path: Path) -> None:
    done = gguf_model.patched(tmp_path, Shape(types=False))
    after, _ = gguf_model.read(done.path)
    assert after["tokenizer.ggml.token_type"] == [1] * TOKENS + [3] * 5


def test_two_patches_stand_in_their_order(tmp_path: Path) -> None:
    stock = gguf_model.write(tmp_path / "stock.gguf")
    base = gguf_model.base_of(stock)
    pair = (tiny.patch(base, "tiny/one", separator="\n"), tiny.patch(base, "tiny/two", tokens=3, seed=2))
    done = gguf_model.patched(tmp_path, Shape(), *pair)
    _, tensors = gguf_model.read(done.path)
    rows = np.concatenate([patch.rows.numpy() for patch in pair])
    assert np.array_equal(tensors["token_embd.weight"].data[TOKENS:], rows)


def refusal(folder: Path, shape: Shape, *patches: Any) -> PatchpmError:
    with pytest.raises(PatchpmError) as caught:
        gguf_model.patched(folder, shape, *patches)
    assert not (folder / "patched.gguf").exists()
    assert not list(folder.glob(".*"))
    return caught.value


def test_a_tensor_with_a_row_for_each_token_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    strange = {"per_layer_token_embd.weight": np.zeros((TOKENS, 4), np.float32)}
    assert refusal(tmp_path, Shape(extra=strange)).code == "model-unsupported"


def test_a_file_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, Shape(templates={})).code == "anchor-not-found"


def test_a_patched_file_is_not_patched_again(tmp_path: Path) -> None:
    done = gguf_model.patched(tmp_path)
    place = place_in_gguf(done.path, gguf_model.patch_set(done.path))
    with pytest.raises(UsageError) as caught:
        write_patched_gguf(place, tmp_path / "twice.gguf", gguf_model.base_of(done.path).tensors)
    assert caught.value.code == "already-patched"


def test_the_stock_file_is_not_written_over(tmp_path: Path) -> None:
    stock = gguf_model.write(tmp_path / "stock.gguf")
    content = stock.read_bytes()
    place = place_in_gguf(stock, gguf_model.patch_set(stock))
    (tmp_path / "link.gguf").symlink_to(stock)
    for target in (stock, tmp_path / "link.gguf"):
        with pytest.raises(UsageError) as caught:
            write_patched_gguf(place, target, gguf_model.base_of(stock).tensors)
        assert caught.value.code == "same-file"
    assert stock.read_bytes() == content


def test_another_template_or_tokenizer_than_the_patch_was_made_with_is_refused(tmp_path: Path) -> None:
    other = gguf_model.write(tmp_path / "other.gguf", Shape(templates={"": tiny.CHATML + " "}))
    patch = tiny.patch(gguf_model.base_of(other))
    assert refusal(tmp_path, Shape(), patch).code == "template-mismatch"


def test_a_folder_with_another_tokenizer_is_refused(tmp_path: Path) -> None:
    stock = gguf_model.write(tmp_path / "stock.gguf")
    other = tiny.tokenizer()
    other.add_tokens(["<|more|>"])
    other.save_pretrained(tmp_path / "folder")
    with pytest.raises(IntegrityError) as caught:
        place_in_gguf(stock, gguf_model.patch_set(stock), folder=tmp_path / "folder")
    assert caught.value.code == "tokenizer-mismatch"


def test_a_type_that_the_library_cannot_read_is_told(tmp_path: Path) -> None:
    from patchpm.export.splice import Requantised, write_pieces

    (tmp_path / "source").write_bytes(bytes(36))
    with pytest.raises(CannotError) as caught, (tmp_path / "target").open("w+b") as target:
        write_pieces([Requantised(0, 36, "Q1_0")], tmp_path / "source", target, digest=True)
    assert caught.value.code == "type-unsupported"


def test_tokens_that_the_stock_file_suppresses_stay_suppressed(tmp_path: Path) -> None:
    done = gguf_model.patched(tmp_path, Shape(suppressed=(5, 6)))
    metadata, _ = gguf_model.read(done.path)
    assert list(metadata["tokenizer.ggml.suppress_tokens"]) == [5, 6, *range(TOKENS, TOKENS + len(done.names))]


def test_a_model_that_scales_its_embedding_is_refused(tmp_path: Path) -> None:
    stock = gguf_model.write(tmp_path / "stock.gguf", Shape(architecture="gemma3"))
    folder = tmp_path / "base"
    tiny.tokenizer().save_pretrained(folder)
    place = place_in_gguf(stock, gguf_model.patch_set(stock), folder=folder)
    with pytest.raises(CannotError, match="model-unsupported"):
        write_patched_gguf(place, tmp_path / "out.gguf", Digest.of(b""))
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize("others", [{"": tiny.CHATML}, {}])
def test_a_template_that_hides_behind_the_default_one_is_refused(tmp_path: Path, others: dict[str, str]) -> None:
    stock = gguf_model.write(tmp_path / "stock.gguf", Shape(templates={**others, "default": tiny.CHATML}))
    (patch,) = gguf_model.patch_set(stock).patches
    unpinned = replace(patch, base=replace(patch.base, template=None))
    with pytest.raises(IntegrityError, match="malformed-gguf"):
        place_in_gguf(stock, gguf_model.patch_set(stock, unpinned))


def test_rows_that_the_file_cannot_hold_are_refused(tmp_path: Path) -> None:
    stock = gguf_model.write(tmp_path / "stock.gguf", Shape(embedding="F16"))
    (patch,) = gguf_model.patch_set(stock).patches
    place = place_in_gguf(stock, gguf_model.patch_set(stock, replace(patch, rows=patch.rows * 1e6)))
    with pytest.raises(CannotError, match="rows-too-large"):
        write_patched_gguf(place, tmp_path / "out.gguf", Digest.of(b""))


@pytest.mark.parametrize("delta", ["stock.gguf", "out.gguf"])
def test_a_delta_is_never_written_over_a_model(tmp_path: Path, delta: str) -> None:
    stock = gguf_model.write(tmp_path / "stock.gguf")
    before = stock.read_bytes()
    place = place_in_gguf(stock, gguf_model.patch_set(stock))
    with pytest.raises(UsageError, match="same-file"):
        write_patched_gguf(place, tmp_path / "out.gguf", Digest.of(b""), delta=tmp_path / delta)
    assert stock.read_bytes() == before
