from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpm.errors import PatchpmError
from patchpm.export.provenance import parse_provenance, write_provenance
from patchpm.guard.reference_json import read_references, write_references
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef, Prefix
from patchpm.patch.manifest_json import read_manifest, write_manifest
from patchpm.patch.prefix import PrefixMatrix, read_prefix, write_prefix
from patchpm.patch.release import FILES, ReleaseFiles
from patchpm.project.lock_toml import read_lock, write_lock
from patchpm.trust.policy import Policy
from patchpm.trust.release import verify_release
from tests.schema.formats import ENTRY_PATH, FORMATS, VECTORS, unseen
from tests.schema.make_vectors import WRITTEN_BY_HAND, vectors
from tests.schema.registry_vectors import NOW
from tests.schema.release_vectors import SIGNERS

GOOD = [(name, path) for name in FORMATS for path in FORMATS[name].vectors("good")]
BAD = [(name, path) for name in FORMATS for path in FORMATS[name].vectors("bad")]
WRITTEN_AGAIN: dict[str, Callable[[bytes], bytes]] = {
    "manifest": lambda data: write_manifest(read_manifest(data)),
    "lock": lambda data: write_lock(read_lock(data.decode())).encode(),
    "export": lambda data: write_provenance(parse_provenance(data)),
    "probes": lambda data: write_references(sorted(read_references(data), key=lambda one: str(one.base))),
}
"""Formats that have a writer of a whole document: what it makes of one that is read."""
PREFIXES = json.loads((VECTORS / "prefix" / "described.json").read_bytes())


def names(cases: list[tuple[str, Path]]) -> list[str]:
    return [f"{name}-{path.stem}" for name, path in cases]


def read_described(name: str) -> PrefixMatrix:
    data = (VECTORS / "prefix" / name).read_bytes()
    said = PREFIXES[name]
    described = Prefix(FileRef(len(data), Digest.of(data)), said["tokens"], said["dtype"], ("system-start",), "")
    return read_prefix(data, described, said["hidden_size"])


@pytest.mark.parametrize(("name", "path"), GOOD, ids=names(GOOD))
def test_a_good_vector_passes_schema_and_reader(name: str, path: Path) -> None:
    data = path.read_bytes()
    assert FORMATS[name].allows(FORMATS[name].parse(data))
    FORMATS[name].read(data)


@pytest.mark.parametrize(("name", "path"), BAD, ids=names(BAD))
def test_a_bad_vector_is_refused_by_the_reader(name: str, path: Path) -> None:
    with pytest.raises(PatchpmError):
        FORMATS[name].read(path.read_bytes())


@pytest.mark.parametrize(("name", "path"), BAD, ids=names(BAD))
def test_a_bad_vector_is_refused_by_the_schema_unless_it_is_listed_as_beyond_schemas(name: str, path: Path) -> None:
    try:
        value = FORMATS[name].parse(path.read_bytes())
    except ValueError:
        allowed = True  # a schema is not even asked
    else:
        allowed = FORMATS[name].allows(value)
    assert allowed == (path.name in unseen()[name])


def test_everything_listed_as_beyond_schemas_is_there() -> None:
    for name, listed in unseen().items():
        assert set(listed) <= {path.name for path in FORMATS[name].vectors("bad")}


@pytest.mark.parametrize("kind", WRITTEN_AGAIN)
def test_good_vectors_are_as_our_writers_write_them_unless_called_loose(kind: str) -> None:
    for path in FORMATS[kind].vectors("good"):
        data = path.read_bytes()
        assert (WRITTEN_AGAIN[kind](data) == data) != path.name.startswith("loose-"), path.name


@pytest.mark.parametrize("name", sorted(name for name in PREFIXES if name.startswith("good/")))
def test_a_good_prefix_is_read(name: str) -> None:
    matrix = read_described(name)
    again = write_prefix(matrix)
    assert (again == (VECTORS / "prefix" / name).read_bytes()) != ("loose-" in name)


@pytest.mark.parametrize("name", sorted(name for name in PREFIXES if name.startswith("bad/")))
def test_a_bad_prefix_is_refused(name: str) -> None:
    with pytest.raises(PatchpmError):
        read_described(name)


def test_the_whole_release_verifies_with_both_keys() -> None:
    folder = VECTORS / "release" / ENTRY_PATH
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    files = ReleaseFiles(*((folder / name).read_bytes() for name in FILES))
    keys = [signer.public for signer in SIGNERS]
    verified = verify_release(files, keys=keys, threshold=2, policy=Policy(), now=NOW).require()
    assert verified.path == ENTRY_PATH
    assert verified.matrix.rows() == [(1, -0.5, 0, 2), (0, -3, 0.25, -0.10009765625)]


def test_making_the_vectors_anew_changes_nothing() -> None:
    made = vectors()
    there = {
        path.relative_to(VECTORS).as_posix(): path.read_bytes()
        for path in VECTORS.rglob("*")
        if path.is_file() and path.relative_to(VECTORS).parts[0] not in (*WRITTEN_BY_HAND, ".gitattributes")
    }
    assert sorted(there) == sorted(made)
    assert [name for name in made if there[name] != made[name]] == []
