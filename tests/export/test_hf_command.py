"""`patchpm export hf`."""

from __future__ import annotations

from pathlib import Path

from patchpm.export.provenance import read_provenance
from tests.builders import matrix
from tests.export.exports import CAPITAL, answered, write_base
from tests.model import tiny
from tests.world import World, base_model


def test_the_locked_set_of_a_project_is_exported(world: World) -> None:
    base = write_base(world.root / "models" / "chat", tiny.llama())
    for name in ("acme/one", "acme/two"):
        world.publish(name, prefix=matrix(hidden_size=32, tokens=4, seed=len(name)), for_base=base_model(base.folder))
    world.ok("init", "--base", str(base.folder), "--label", "chat")
    world.ok("install", "acme/one", "acme/two")

    said = world.ok("export", "hf", "out", "--check", "--json").json

    found = read_provenance(Path("out"))
    assert said["set"] == str(found.set)
    assert said["largest_difference"] < 5e-5
    assert answered(Path("out"), CAPITAL)[0]
    again = world.run("export", "hf", "out", "--json")
    assert (again.code, again.error["code"]) == (2, "output-exists")
    assert "tokens at system-start" in world.ok("export", "hf", "out", "--force").out
