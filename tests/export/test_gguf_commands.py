"""`patchpm export gguf` and `patchpm export ollama`: from a locked project to files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import matrix
from tests.export import gguf_model
from tests.export.gguf_model import Shape
from tests.model import tiny
from tests.world import World, base_model


@pytest.fixture
def gguf_world(world: World) -> World:
    """A world whose base is a GGUF file, with a patch of three tokens installed."""
    world.base = gguf_model.write(world.root / "models" / "tiny.gguf")
    world.publish(for_base=gguf_model.base_of(world.base), prefix=matrix(3, 32))
    return world.started("acme/toxicity")


@pytest.fixture
def folder_world(world: World) -> World:
    """A world whose base is a model folder; the vendor lists one GGUF copy of it, tiny.gguf."""
    folder = world.root / "models" / "talking"
    tiny.llama().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    world.base = folder
    listed = gguf_model.base_of(gguf_model.write(world.root / "tiny.gguf", Shape(embedding="Q8_0")))
    target = replace(base_model(folder), quantised=(listed.tensors,))
    world.publish(for_base=target, prefix=matrix(3, 32))
    return world.started("acme/toxicity")


def test_a_gguf_project_is_exported_and_comes_back_from_its_delta(gguf_world: World) -> None:
    found = gguf_world.ok("export", "gguf", "out/patched.gguf", "--delta", "out/patched.delta", "--json").json
    patched = Path("out/patched.gguf")
    assert found["size"] == patched.stat().st_size
    assert found["set"] == str(gguf_world.lock.compositions[0].digest)
    assert (found["tokens"], found["patches"], found["tied"]) == (3, ["acme/toxicity 1.0.0"], False)
    stock = str(gguf_world.base)
    again = gguf_world.ok(
        "export", "gguf", "again.gguf", "--gguf", stock, "--from-delta", "out/patched.delta", "--json"
    )
    assert Path("again.gguf").read_bytes() == patched.read_bytes()
    assert again.json["set"] == found["set"]


def test_a_listed_copy_of_a_folder_is_exported(folder_world: World) -> None:
    found = folder_world.ok("export", "gguf", "patched.gguf", "--gguf", "../tiny.gguf", "--json").json
    assert found["tied"] is False
    assert Path("patched.gguf").is_file()
    text = folder_world.ok("export", "gguf", "patched.gguf", "--gguf", "../tiny.gguf", "--tied", "--force")
    assert "acme/toxicity 1.0.0: 3 tokens" in text.out
    assert "--tied" in text.err


def test_a_file_that_is_there_is_replaced_only_when_told_so(gguf_world: World) -> None:
    Path("patched.gguf").write_bytes(b"mine")
    refused = gguf_world.run("export", "gguf", "patched.gguf", "--json")
    assert (refused.code, refused.error["code"]) == (2, "output-exists")
    refused = gguf_world.run("export", "gguf", "other.gguf", "--delta", "patched.gguf", "--json")
    assert (refused.code, refused.error["code"]) == (2, "output-exists")
    assert Path("patched.gguf").read_bytes() == b"mine"
    gguf_world.ok("export", "gguf", "patched.gguf", "--force")
    assert Path("patched.gguf").read_bytes()[:4] == b"GGUF"


def test_an_ollama_folder_is_written_again_only_when_told_so(gguf_world: World) -> None:
    gguf_world.ok("export", "ollama", "safer")
    refused = gguf_world.run("export", "ollama", "safer", "--json")
    assert (refused.code, refused.error["code"]) == (2, "output-exists")
    gguf_world.ok("export", "ollama", "safer", "--force")


def test_a_copy_that_nobody_lists_is_refused(folder_world: World) -> None:
    gguf_model.write(folder_world.root / "other.gguf", Shape(embedding="Q4_0"))
    refused = folder_world.run("export", "gguf", "patched.gguf", "--gguf", "../other.gguf", "--json")
    assert (refused.code, refused.error["code"]) == (4, "base-mismatch")
    assert not Path("patched.gguf").exists()


def test_a_folder_needs_a_gguf_file(folder_world: World) -> None:
    refused = folder_world.run("export", "gguf", "patched.gguf", "--json")
    assert (refused.code, refused.error["code"]) == (2, "which-gguf")
    assert "--gguf" in refused.error["next"]


def test_options_that_a_delta_decides_are_refused(gguf_world: World) -> None:
    Path("some.delta").write_bytes(b"x")
    for more in ([], ["--gguf", str(gguf_world.base), "--tied"], ["--gguf", str(gguf_world.base), "--base", "tiny"]):
        refused = gguf_world.run("export", "gguf", "out.gguf", "--from-delta", "some.delta", "--json", *more)
        assert (refused.code, refused.error["code"]) == (2, "wrong-options")


def test_junk_for_a_delta_gives_an_error_and_no_file(gguf_world: World) -> None:
    Path("some.delta").write_bytes(b"junk")
    refused = gguf_world.run(
        "export", "gguf", "out.gguf", "--gguf", str(gguf_world.base), "--from-delta", "some.delta", "--json"
    )
    assert (refused.code, refused.error["code"]) == (4, "malformed-delta")
    assert not Path("out.gguf").exists()


def test_ollama_gets_a_model_and_a_modelfile(gguf_world: World) -> None:
    found = gguf_world.ok("export", "ollama", "safer", "--json").json
    assert found["tied"] is False
    modelfile = Path("safer/Modelfile").read_text()
    assert "FROM ./patched.gguf\n" in modelfile
    assert 'PARAMETER stop "<|im_end|>"' in modelfile
    names = gguf_model.read(Path("safer/patched.gguf"))[0]["tokenizer.ggml.tokens"][-3:]
    assert "".join(names) in modelfile
    assert found["modelfile"] == "safer/Modelfile"


def test_ollama_takes_a_template_of_ones_own(gguf_world: World) -> None:
    Path("own.gotmpl").write_text("{{ $patchpm }}{{ .Prompt }}")
    done = gguf_world.ok("export", "ollama", "safer", "--template", "own.gotmpl")
    assert "}}{{ $patchpm }}{{ .Prompt }}" in Path("safer/Modelfile").read_text()
    assert "nothing proves" in done.err
