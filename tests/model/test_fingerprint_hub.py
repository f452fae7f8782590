"""Models in the Hub's local cache: found by name, without network, and declared without hashing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from patchpm.errors import CannotError, IntegrityError, UsageError
from patchpm.model import hub_cache
from patchpm.model.fingerprint import declared, fingerprint
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel, Match
from tests.model import model_files

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HOME", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def _download(cache: Path, *, name: str = "org/tiny", shards: int = 1, tree: bool = True) -> Path:
    """Lay a model out as the Hub's library does: blobs by etag, a snapshot of links, a ref and the tree."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    source = model_files.folder(cache.parent / "source", model_files.tensors(), shards=shards)
    (source / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    (source / "chat_template.jinja").write_text("{{ messages }}")
    for folder in (repository / "blobs", snapshot, repository / "refs" / "pr", repository / "trees"):
        folder.mkdir(parents=True)
    files = {}
    for path in sorted(source.iterdir()):
        data = path.read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        entry: dict[str, str | int] = {"size": len(data), "blob_id": git}
        etag = git
        if path.suffix == ".safetensors":
            etag = hashlib.sha256(data).hexdigest()
            entry |= {"lfs_sha256": etag, "lfs_size": len(data), "xet_hash": "f" * 64}
        files[path.name] = entry
        (repository / "blobs" / etag).write_bytes(data)
        (snapshot / path.name).symlink_to(f"../../blobs/{etag}")
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "refs" / "pr" / "1").write_text(COMMIT)
    if tree:
        (repository / "trees" / f"{COMMIT}.json").write_text(json.dumps({"format_version": 1, "files": files}))
    return snapshot


@pytest.mark.parametrize("name", ["hf:org/tiny", "hf:org/tiny@main", "hf:org/tiny@pr/1", f"hf:org/tiny@{COMMIT}"])
def test_a_model_is_found_by_name_and_revision(cache: Path, name: str) -> None:
    snapshot = _download(cache)
    measured = fingerprint(name)
    assert measured.source == snapshot
    assert measured.fingerprint == fingerprint(snapshot).fingerprint == fingerprint(Path(name)).fingerprint
    assert measured.fingerprint.tensors == fingerprint(cache.parent / "source").fingerprint.tensors


def test_a_model_without_an_organisation_is_found(cache: Path) -> None:
    snapshot = _download(cache, name="gpt2")
    assert fingerprint("hf:gpt2").source == snapshot


@pytest.mark.parametrize("tree", [True, False], ids=["tree", "older cache"])
@pytest.mark.parametrize("shards", [1, 3])
def test_what_the_hub_declares_matches_by_its_files(cache: Path, shards: int, tree: bool) -> None:
    snapshot = _download(cache, shards=shards, tree=tree)
    found = declared("hf:org/tiny")
    expected = tuple(
        (path.name, Digest(hashlib.sha256(path.read_bytes()).hexdigest()))
        for path in sorted(snapshot.glob("*.safetensors"))
    )
    assert len(expected) == shards
    assert found.files == expected
    assert (found.tensors, found.bf16) == (None, None)
    measured = fingerprint(snapshot).fingerprint
    assert measured.files == expected
    assert (found.tokenizer, found.template, found.hidden_size) == (measured.tokenizer, measured.template, 8)
    assert measured.tensors is not None
    base = BaseModel("tiny", measured.tensors, measured.bf16, (), expected, measured.tokenizer, measured.template, 8)
    assert base.match(found) is Match.FILES
    assert base.match(measured) is Match.TENSORS


def test_a_file_of_another_size_than_declared_is_cut_off(cache: Path) -> None:
    blob = (_download(cache) / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(IntegrityError) as caught:
        declared("hf:org/tiny")
    assert caught.value.code == "truncated-weights"


def test_a_tampered_blob_is_declared_good_and_found_bad_by_hashing(cache: Path) -> None:
    blob = (_download(cache) / "model.safetensors").resolve()
    good, claimed = fingerprint("hf:org/tiny").fingerprint, declared("hf:org/tiny")
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    assert declared("hf:org/tiny") == claimed
    assert fingerprint("hf:org/tiny").fingerprint.tensors != good.tensors


def test_a_plain_folder_is_declared_by_nobody(cache: Path) -> None:
    _download(cache)
    with pytest.raises(CannotError) as caught:
        declared(cache.parent / "source")
    assert caught.value.code == "not-declared"


def test_a_snapshot_of_copies_without_a_tree_is_declared_by_nobody(cache: Path) -> None:
    snapshot = _download(cache, tree=False)
    link = snapshot / "model.safetensors"
    content = link.read_bytes()
    link.unlink()
    link.write_bytes(content)
    with pytest.raises(CannotError) as caught:
        declared(snapshot)
    assert caught.value.code == "not-declared"
    assert fingerprint(snapshot).fingerprint.files == ()


@pytest.mark.parametrize("name", ["hf:org/other", "hf:org/tiny@v2", f"hf:org/tiny@{'f' * 40}"])
def test_what_was_never_downloaded_is_not_there_and_the_error_says_how_to_get_it(cache: Path, name: str) -> None:
    _download(cache)
    with pytest.raises(CannotError) as caught:
        fingerprint(name)
    assert caught.value.code == "not-in-hub-cache"
    assert caught.value.next is not None
    assert "hf download org/" in caught.value.next


@pytest.mark.parametrize(
    "name",
    [
        "hf:",
        "hf:a/b/c",
        "hf:../x",
        "hf:org/..",
        "hf:org/tiny@../../x",
        "hf:org/tiny@",
        "hf:org--x/tiny",
        "hf:org/t\n",
        "hf:/etc",
    ],
)
def test_a_name_that_could_leave_the_cache_is_refused(cache: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        fingerprint(name)
    assert caught.value.code == "invalid-hub-name"


def test_a_ref_that_names_no_commit_is_refused(cache: Path) -> None:
    snapshot = _download(cache)
    (snapshot.parent.parent / "refs" / "main").write_text("../../../etc")
    with pytest.raises(IntegrityError) as caught:
        fingerprint("hf:org/tiny")
    assert caught.value.code == "malformed-hub-cache"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"files": []}'])
def test_a_tree_that_is_none_is_refused(cache: Path, text: str) -> None:
    snapshot = _download(cache)
    (snapshot.parent.parent / "trees" / f"{COMMIT}.json").write_text(text)
    with pytest.raises(IntegrityError) as caught:
        declared(snapshot)
    assert caught.value.code == "malformed-hub-cache"


def test_a_model_that_is_not_there_is_declared_by_nobody(cache: Path) -> None:
    with pytest.raises(CannotError) as caught:
        declared(cache / "nothing")
    assert caught.value.code == "model-not-found"


def test_the_cache_is_where_the_hub_s_library_has_it() -> None:
    home = Path.home()
    assert hub_cache.cache_folder({}) == home / ".cache/huggingface/hub"
    assert hub_cache.cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/huggingface/hub")
    assert hub_cache.cache_folder({"HF_HOME": "~/hf", "XDG_CACHE_HOME": "/x"}) == home / "hf/hub"
    assert hub_cache.cache_folder({"HF_HUB_CACHE": "/c", "HF_HOME": "/h"}) == Path("/c")
    assert hub_cache.cache_folder({"HUGGINGFACE_HUB_CACHE": "/c", "HF_HOME": "/h"}) == Path("/c")


def test_measuring_imports_no_library_that_reads_models(cache: Path) -> None:
    _download(cache)
    code = (
        "import sys; from patchpm.model.fingerprint import declared, fingerprint\n"
        "declared('hf:org/tiny')\n"
        "assert not {'numpy', 'torch', 'transformers', 'safetensors', 'huggingface_hub', 'gguf'} & set(sys.modules)\n"
        "fingerprint('hf:org/tiny')\n"
        "print(sorted({'torch', 'transformers', 'safetensors', 'huggingface_hub', 'gguf'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
