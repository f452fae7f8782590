"""An export for serving is made once for a base and a set, and is there whole or not at all."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from patchpm.atomic_write import TEMPORARY_SUFFIX
from patchpm.errors import CannotError
from patchpm.export.export_cache import ExportCache, digest_of_folder, digest_of_gguf
from patchpm.model.loaded import PatchSet
from patchpm.patch.digest import Digest
from patchpm.settings import Folders
from tests.export import gguf_model
from tests.export.exports import change, write_base
from tests.export.gguf_model import Shape
from tests.model import tiny
from tests.world import World

BASE = Digest.of(b"base")


def patches(name: str) -> PatchSet:
    """A set of one patch."""
    base = tiny.base_of(tiny.llama(), tiny.tokenizer())
    return PatchSet("system-start", (tiny.patch(base, name, tokens=3, seed=len(name)),))


class Exporter:
    """Writes the name of the patch, slowly, and counts."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, found: PatchSet, path: Path) -> None:
        name = str(found.patches[0].name)
        with self._lock:
            self.written.append(name)
        time.sleep(0.1)
        path.write_text(name)


def test_the_same_set_is_exported_once_even_by_two_at_once(tmp_path: Path) -> None:
    write, found = Exporter(), patches("acme/one")
    caches = [ExportCache(tmp_path, lambda: BASE, "hf", write) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda cache: cache.get(found), caches)
    assert first == second
    assert first.read_text() == "acme/one"
    assert write.written == ["acme/one"]


def test_another_set_base_or_form_is_another_export(tmp_path: Path) -> None:
    write, found = Exporter(), patches("acme/one")
    paths = {
        ExportCache(tmp_path, lambda: BASE, "hf", write).get(found),
        ExportCache(tmp_path, lambda: BASE, "hf", write).get(patches("acme/other")),
        ExportCache(tmp_path, lambda: Digest.of(b"other"), "hf", write).get(found),
        ExportCache(tmp_path, lambda: BASE, "gguf", write).get(found),
    }
    assert len(paths) == 4


def test_an_export_that_fails_is_made_the_next_time(tmp_path: Path) -> None:
    def full(_: PatchSet, __: Path) -> None:
        raise CannotError("disk-full", "the disk is full")

    found = patches("acme/one")
    with pytest.raises(CannotError, match="disk-full"):
        ExportCache(tmp_path, lambda: BASE, "hf", full).get(found)
    assert ExportCache(tmp_path, lambda: BASE, "hf", Exporter()).get(found).exists()


def test_what_a_killed_export_left_is_cleared_away(tmp_path: Path) -> None:
    found, cache = patches("acme/one"), ExportCache(tmp_path, lambda: BASE, "hf", Exporter())
    left = cache.path(found).parent / f".model.0123{TEMPORARY_SUFFIX}"
    left.mkdir(parents=True)
    cache.get(found)
    assert not left.exists()


def test_another_configuration_of_the_same_weights_is_another_base(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", tiny.llama())
    before = digest_of_folder(base.folder, BASE)
    change(base.folder / "config.json", rms_norm_eps=0.5)
    assert digest_of_folder(base.folder, BASE) != before


def test_another_template_in_the_same_gguf_is_another_base(tmp_path: Path) -> None:
    one = gguf_model.write(tmp_path / "one.gguf")
    other = gguf_model.write(tmp_path / "other.gguf", Shape(templates={"": tiny.CHATML + " "}))
    assert digest_of_gguf(one, BASE) != digest_of_gguf(other, BASE)


def test_cleaning_the_cache_deletes_every_export_that_is_kept(world: World) -> None:
    def write(_: PatchSet, out: Path) -> None:
        out.mkdir()
        (out / "model.safetensors").write_bytes(b"12345678")

    cache = Folders.of_user().cache
    kept = ExportCache(cache, lambda: BASE, "hf", write).get(PatchSet("system-start", ()))
    assert world.ok("cache", "show", "--json").json["exports"] == 8
    assert world.ok("cache", "clean", "--json").json["bytes"] >= 8
    assert not kept.exists()
    assert world.ok("cache", "show", "--json").json["exports"] == 0


def test_a_cleaning_that_is_killed_leaves_no_half_export_to_serve(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Exporter()

    def write_folder(found: PatchSet, out: Path) -> None:
        out.mkdir()
        write(found, out / "name")

    kept = ExportCache(Folders.of_user().cache, lambda: BASE, "hf", write_folder)
    path = kept.get(patches("acme/one"))

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("patchpm.export.kept_exports.shutil.rmtree", killed)
        world.run("cache", "clean")
    assert not path.exists()
    assert (kept.get(patches("acme/one")) / "name").exists()
    assert write.written == ["acme/one", "acme/one"]
    world.ok("cache", "clean")
    assert [left.name for left in path.parent.iterdir()] == [".lock"]
