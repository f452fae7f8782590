"""Adapters of PEFT both ways, with the real library: what it computes is compared, not what it is told."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from patchpm.errors import CannotError
from patchpm.export.peft_adapter import CONFIG, TENSOR, WEIGHTS
from patchpm.export.peft_folder import peft_folder
from patchpm.model.apply import attach
from patchpm.model.loaded import LoadedPatch, PatchSet, tensor_of
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef, Prefix
from patchpm.patch.name import PatchName
from patchpm.patch.prefix import inspect_prefix
from patchpm.patch.version import Version
from tests.builders import matrix
from tests.model import tiny
from tests.world import World, base_model

TEXT = "What is the capital of France?"


def write_base(folder: Path, *, bos: bool = False) -> Path:
    tiny.llama().save_pretrained(folder)
    tiny.tokenizer(bos=bos).save_pretrained(folder)
    return folder


def loaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    return model.eval()


@pytest.fixture
def peft_world(world: World) -> World:
    """A project with two patches for a base that `transformers` loads."""
    world.base = write_base(world.root / "models" / "real")
    named = base_model(world.base)
    for name, tokens in (("acme/toxicity", 5), ("acme/bias", 3)):
        rows = matrix(tokens=tokens, hidden_size=32, seed=tokens)
        world.publish(name, prefix=rows, for_base=named)
    return world.started("toxicity", "bias")


def rows_of(world: World, *names: str) -> torch.Tensor:
    """The rows of locked patches, from the store."""
    found = []
    for name in names:
        tokens = {"acme/toxicity": 5, "acme/bias": 3}[name]
        values = matrix(tokens=tokens, hidden_size=32, seed=tokens).rows()
        found.append(torch.tensor(values))
    return torch.cat(found)


def prompt_tuned(base: Path, out: Path, *, seed: int = 0) -> torch.Tensor:
    """Train a prompt for three steps with PEFT, save it, and give the logits that PEFT then computes for TEXT."""
    from peft import PromptTuningConfig, TaskType, get_peft_model

    torch.manual_seed(seed)
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=6)
    model: Any = get_peft_model(loaded(base), config)
    ids = tiny.tokenizer()(TEXT, return_tensors="pt")
    step = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        loss = model(**ids, labels=ids["input_ids"]).loss
        step.zero_grad()
        loss.backward()
        step.step()
    model.eval()
    model.save_pretrained(out)
    with torch.no_grad():
        logits = model(**tiny.tokenizer()(TEXT, return_tensors="pt")).logits[0, 6:]
    assert isinstance(logits, torch.Tensor)
    return logits


def test_peft_computes_from_an_export_what_the_rows_at_position_0_give(peft_world: World) -> None:
    from peft import PeftModel

    out = peft_world.project / "adapter"
    result = peft_world.ok("export", "peft", str(out), "--json")
    order = [name.partition(" ")[0] for name in result.json["patches"]]
    assert sorted(order) == ["acme/bias", "acme/toxicity"]
    base, model = loaded(peft_world.base), PeftModel.from_pretrained(loaded(peft_world.base), str(out)).eval()
    inputs = tiny.tokenizer()(TEXT, return_tensors="pt")
    with torch.no_grad():
        embedded = base.get_input_embeddings()(inputs["input_ids"])
        wanted = base(inputs_embeds=torch.cat([rows_of(peft_world, *order)[None], embedded], dim=1)).logits
        found = model(**inputs).logits
        without = base(**inputs).logits
    assert (found - wanted).abs().max() < 5e-5
    assert (found[0, 8:] - without[0]).abs().max() > 1e-2


def test_one_patch_of_the_set_can_be_exported(peft_world: World) -> None:
    result = peft_world.ok("export", "peft", "adapter", "--patch", "acme/bias", "--json")
    assert result.json["tokens"] == 3
    found = load_file(peft_world.project / "adapter" / WEIGHTS)
    assert torch.equal(found[TENSOR], rows_of(peft_world, "acme/bias"))


def test_an_export_warns_of_the_place_and_of_peft_s_faults_and_keeps_the_warnings(peft_world: World) -> None:
    result = peft_world.ok("export", "peft", "adapter", "--json")
    page = (peft_world.project / "adapter" / "README.md").read_text()
    assert len(result.json["warnings"]) == result.err.count("warning:") == 6
    for word in ("position 0", "left padding", "static cache", "one adapter"):
        assert word in result.err
        assert word.lower() in page.lower()
    assert result.json["set"] in page


def test_an_exported_patch_comes_back_to_the_byte_with_its_anchor(peft_world: World) -> None:
    peft_world.ok("export", "peft", "adapter", "--patch", "acme/toxicity")
    result = peft_world.ok("import", "peft", "adapter", "made", "--base", str(peft_world.base), "--json")
    assert result.json["anchor"] == "system-start"
    assert result.json["same_place"] is True
    data = (peft_world.project / "made" / "prefix.safetensors").read_bytes()
    stored = [path for path in peft_world.stored() if path.read_bytes() == data]
    assert len(stored) == 1


def test_a_folder_of_somebody_else_is_left_as_it_is(peft_world: World) -> None:
    (peft_world.project / "adapter").mkdir()
    (peft_world.project / "adapter" / "mine.txt").write_text("mine")
    result = peft_world.run("export", "peft", "adapter", "--json")
    assert (result.code, result.error["code"]) == (2, "output-exists")
    assert [path.name for path in (peft_world.project / "adapter").iterdir()] == ["mine.txt"]


def test_an_unknown_patch_is_a_usage_error(peft_world: World) -> None:
    result = peft_world.run("export", "peft", "adapter", "--patch", "acme/other", "--json")
    assert (result.code, result.error["code"]) == (2, "unknown-patch")
    assert not (peft_world.project / "adapter").exists()


def test_a_patch_with_a_separator_is_not_exported(world: World) -> None:
    world.base = write_base(world.root / "models" / "real")
    patch = tiny.patch(base_model(world.base), separator="\n")
    with pytest.raises(CannotError, match="separator-not-exportable"):
        peft_folder(PatchSet("system-start", (patch,)), "tiny", text_head=())


def test_what_peft_trained_computes_the_same_as_a_patch(world: World) -> None:
    base = write_base(world.root / "models" / "real")
    wanted = prompt_tuned(base, world.root / "adapter")
    out = world.root / "made"
    result = world.ok("import", "peft", str(world.root / "adapter"), str(out), "--base", str(base), "--json")
    assert (result.json["anchor"], result.json["same_place"]) == ("text-start", True)
    model, tokenizer = loaded(base), tiny.tokenizer()
    with torch.no_grad(), attach(model, tokenizer, [imported(out, base)], anchor="text-start"):
        found = model(**tokenizer(TEXT, return_tensors="pt")).logits[0, 6:, : wanted.shape[-1]]
    assert (found - wanted).abs().max() < 5e-5


def imported(folder: Path, base: Path) -> LoadedPatch:
    data = (folder / "prefix.safetensors").read_bytes()
    seen = inspect_prefix(data)
    file = FileRef(len(data), Digest.of(data))
    rows = tensor_of(data, Prefix(file, seen.tokens, seen.dtype, ("text-start",), ""), seen.hidden_size)
    name, version = PatchName.parse("acme/prompt"), Version.parse("1.0.0")
    return LoadedPatch(name, version, file.digest, rows, ("text-start",), "", base_model(base))


def test_an_import_can_be_packed_once_its_draft_is_filled_in(world: World) -> None:
    base = write_base(world.root / "models" / "real")
    prompt_tuned(base, world.root / "adapter")
    world.ok("import", "peft", str(world.root / "adapter"), "made", "--base", str(base))
    draft = world.project / "made" / "patch.toml"
    (world.project / "made" / "claims.json").write_text("[]")
    world.ok("key", "generate", "acme", "--no-passphrase")
    unfilled = world.run("pack", "made", "--base", str(base), "--key", "acme", "--out", "release", "--json")
    assert unfilled.code == 2
    text = draft.read_text()
    for key, value in (("name", "acme/x"), ("domain", "toxicity"), ("summary", "s"), ("licence", "Apache-2.0")):
        text = text.replace(f'{key} = ""', f'{key} = "{value}"')
    draft.write_text(text)
    world.ok("pack", "made", "--base", str(base), "--key", "acme", "--out", "release")
    manifest = json.loads((world.project / "release" / "manifest.json").read_text())
    assert manifest["prefix"]["anchors"] == ["text-start"]
    assert manifest["prefix"]["tokens"] == 6


def test_a_base_that_begins_texts_with_a_token_has_no_anchor_where_peft_trains(world: World) -> None:
    base = write_base(world.root / "models" / "real", bos=True)
    prompt_tuned(base, world.root / "adapter")
    given = ("import", "peft", str(world.root / "adapter"), "made", "--base", str(base), "--json")
    result = world.run(*given)
    assert (result.code, result.error["code"]) == (2, "which-anchor")
    assert "position 0" in result.error["why"]
    chosen = world.ok(*given, "--anchor", "text-start")
    assert chosen.json["same_place"] is False
    assert "warning:" in chosen.err
    assert "elsewhere" in (world.project / "made" / "patch.toml").read_text()


def change(**values: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **values}))

    return edit


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


def tensors(made: Callable[[torch.Tensor], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        save_file(made(load_file(folder / WEIGHTS)[TENSOR]), folder / WEIGHTS)

    return edit


def doubled_key(folder: Path) -> None:
    (folder / CONFIG).write_text('{"peft_type": "PROMPT_TUNING", "peft_type": "LORA"}')


def cut(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, 200)


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (change(peft_type="PREFIX_TUNING"), "adapter-unsupported"),
        (change(peft_type="P_TUNING"), "adapter-unsupported"),
        (change(peft_type="LORA"), "adapter-unsupported"),
        (change(peft_type=["PROMPT_TUNING"]), "adapter-unsupported"),
        (change(task_type="SEQ_2_SEQ_LM"), "adapter-unsupported"),
        (change(num_transformer_submodules=2), "adapter-unsupported"),
        (change(num_virtual_tokens=7), "malformed-adapter"),
        (change(token_dim=64), "malformed-adapter"),
        (pickled, "pickled-weights"),
        (doubled_key, "malformed-adapter"),
        (cut, "truncated-weights"),
        (tensors(lambda rows: {TENSOR: rows, "more": rows.clone()}), "malformed-adapter"),
        (tensors(lambda rows: {"prompt": rows}), "malformed-adapter"),
        (tensors(lambda rows: {TENSOR: rows.long()}), "malformed-adapter"),
        (tensors(lambda rows: {TENSOR: rows.flatten()}), "malformed-adapter"),
        (tensors(lambda rows: {TENSOR: rows * float("nan")}), "malformed-prefix"),
    ],
)
def test_what_is_no_prompt_tuning_adapter_is_refused(edit: Callable[[Path], None], code: str, world: World) -> None:
    adapter = world.root / "adapter"
    adapter.mkdir()
    config = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 4, "token_dim": 32}
    (adapter / CONFIG).write_text(json.dumps(config))
    save_file({TENSOR: torch.ones(4, 32)}, adapter / WEIGHTS)
    base = write_base(world.root / "models" / "real")
    world.ok("import", "peft", str(adapter), "good", "--base", str(base))
    edit(adapter)
    result = world.run("import", "peft", str(adapter), "made", "--base", str(base), "--json")
    assert result.error["code"] == code
    assert result.code in (1, 4)
    assert not (world.project / "made").exists()


def test_an_adapter_of_another_width_is_refused(world: World) -> None:
    adapter = world.root / "adapter"
    adapter.mkdir()
    config = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 4, "token_dim": 16}
    (adapter / CONFIG).write_text(json.dumps(config))
    save_file({TENSOR: torch.ones(4, 16)}, adapter / WEIGHTS)
    base = write_base(world.root / "models" / "real")
    result = world.run("import", "peft", str(adapter), "made", "--base", str(base), "--json")
    assert (result.code, result.error["code"]) == (2, "base-mismatch")


def test_peft_s_own_generate_is_wrong_where_the_warning_says_so(tmp_path: Path) -> None:
    """If this fails, PEFT was mended: take the warning out."""
    from peft import PeftModel

    base = write_base(tmp_path / "base")
    prompt_tuned(base, tmp_path / "adapter")
    model: Any = PeftModel.from_pretrained(loaded(base), str(tmp_path / "adapter")).eval()
    tokenizer = tiny.tokenizer()
    batch = tokenizer([TEXT, "Paris"], padding=True, return_tensors="pt")
    alone = tokenizer("Paris", return_tensors="pt")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        padded, single = model(**batch).logits[1, -1], model(**alone).logits[0, -1]
    assert (padded - single).abs().max() > 1e-2
