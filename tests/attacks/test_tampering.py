"""Any byte of anything that is signed, changed in any way, is refused, and the error names the file."""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpm.errors import IntegrityError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.patch.release import ATTESTATIONS, ReleaseFiles
from patchpm.registry.entry_json import read_entry
from patchpm.registry.index import ReleaseEntry
from patchpm.trust.policy import Policy
from patchpm.trust.release import verify_release
from patchpm.trust.tuf_state import TrustedState
from tests.simulator import START, RegistrySimulator

FIELDS = {
    "manifest.json": "manifest",
    "prefix.safetensors": "prefix",
    "attestations.jsonl": "attestations",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> RegistrySimulator:
    made = RegistrySimulator(tmp_path_factory.mktemp("tampering"))
    made.writer().rotate_root(made.roles())
    return made


Feed = Callable[[bytes], object]


def feeds(registry: RegistrySimulator) -> dict[str, tuple[bytes, Feed]]:
    """Every metadata file that a client reads, and how it takes it from a state that has taken those before it."""
    files = {path.removeprefix("metadata/"): data for path, data in registry.host.files.items()}
    versions = registry.state().versions
    snapshot, targets = f"{versions.snapshot}.snapshot.json", f"{versions.targets}.targets.json"
    role = registry.role().document.name
    stages = [TrustedState(files["1.root.json"], registry.pin, START)]

    def next_stage(feed: Callable[[TrustedState], None]) -> None:
        state = copy.deepcopy(stages[-1])
        feed(state)
        stages.append(state)

    next_stage(lambda state: state.update_root(files["2.root.json"]))
    next_stage(lambda state: state.update_timestamp(files["timestamp.json"]))
    next_stage(lambda state: state.update_snapshot(files[snapshot]))
    next_stage(lambda state: state.update_targets(files[targets]))
    first, rooted, timed, snapped, ready = stages

    def after(state: TrustedState, take: Callable[[TrustedState, bytes], object]) -> Feed:
        def feed(data: bytes) -> object:
            fresh = copy.copy(state)
            fresh.roots = list(state.roots)
            return take(fresh, data)

        return feed

    return {
        "1.root.json": (files["1.root.json"], lambda data: TrustedState(data, registry.pin, START)),
        "2.root.json": (files["2.root.json"], after(first, TrustedState.update_root)),
        "timestamp.json": (files["timestamp.json"], after(rooted, TrustedState.update_timestamp)),
        snapshot: (files[snapshot], after(timed, TrustedState.update_snapshot)),
        targets: (files[targets], after(snapped, TrustedState.update_targets)),
        role: (files[role], after(ready, lambda state, data: state.vendor_role("acme", data))),
    }


def flipped(data: bytes, place: int, by: int) -> bytes:
    return data[:place] + bytes([data[place] ^ by]) + data[place + 1 :]


@pytest.mark.parametrize("index", range(6))
def test_any_flipped_byte_of_any_registry_metadata_is_refused_by_name(registry: RegistrySimulator, index: int) -> None:
    name, (data, feed) = list(feeds(registry).items())[index]
    source = random.Random(name)
    feed(data)
    for place in range(len(data)):
        with pytest.raises(IntegrityError) as caught:
            feed(flipped(data, place, source.randrange(1, 256)))
        assert name.removeprefix("1.") in str(caught.value)


@given(place=st.integers(0, 10**6), by=st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_no_flip_of_the_timestamp_or_of_a_new_root_goes_unnoticed(
    registry: RegistrySimulator, place: int, by: int
) -> None:
    # The two files whose bytes nothing else promises: here the signature and the one written form must do.
    for name in ("timestamp.json", "2.root.json"):
        data, feed = _feeds(registry)[name]
        with pytest.raises(IntegrityError):
            feed(flipped(data, place % len(data), by))


@pytest.mark.parametrize("cut", [0, 1, -1])
@pytest.mark.parametrize("index", range(6))
def test_metadata_cut_short_or_drawn_out_is_refused(registry: RegistrySimulator, index: int, cut: int) -> None:
    data, feed = list(feeds(registry).values())[index]
    for changed in (data[:cut], data + data[-1:]):
        with pytest.raises(IntegrityError):
            feed(changed)


@pytest.mark.parametrize("promised", [True, False], ids=["from a registry", "on its own"])
@pytest.mark.parametrize("file", list(FIELDS))
def test_any_flipped_byte_of_any_file_of_a_release_is_refused_by_name(
    registry: RegistrySimulator, file: str, promised: bool
) -> None:
    files, entry = _release(registry)
    data = getattr(files, FIELDS[file])
    source = random.Random(file)
    for place in range(len(data)):
        changed = replace(files, **{FIELDS[file]: flipped(data, place, source.randrange(1, 256))})
        with pytest.raises(IntegrityError) as caught:
            _verify(registry, changed, entry if promised else None)
        assert file in str(caught.value)


@given(
    file=st.sampled_from(list(FIELDS)), place=st.integers(0, 10**6), data=st.binary(max_size=8), drop=st.integers(0, 8)
)
@settings(max_examples=80, deadline=None)
def test_no_edit_of_a_release_goes_unnoticed(
    registry: RegistrySimulator, file: str, place: int, data: bytes, drop: int
) -> None:
    files, entry = _release(registry)
    old: bytes = getattr(files, FIELDS[file])
    place %= len(old)
    new = old[:place] + data + old[place + drop :]
    if new == old:
        return
    with pytest.raises(IntegrityError):
        # Space around an envelope means nothing, so only the registry's digest of the file covers it.
        _verify(registry, replace(files, **{FIELDS[file]: new}), entry if file == ATTESTATIONS else None)


@given(data=st.binary(max_size=400))
@settings(max_examples=80, deadline=None)
def test_garbage_in_place_of_a_file_is_an_integrity_error_and_never_a_crash(
    registry: RegistrySimulator, data: bytes
) -> None:
    for _, feed in _feeds(registry).values():
        with pytest.raises(IntegrityError):
            feed(data)
    files, _ = _release(registry)
    for field in FIELDS.values():
        with pytest.raises(IntegrityError):
            _verify(registry, replace(files, **{field: data}), None)


def test_any_flipped_byte_of_what_a_client_remembers_is_refused_by_name(
    registry: RegistrySimulator, tmp_path: Path
) -> None:
    registry.client("rememberer").vendors()
    client = registry.client("rememberer")
    (state,) = (path for path in _folder(registry).rglob("state.json"))
    data = state.read_bytes()
    source = random.Random(0)
    for place in sorted(source.sample(range(len(data)), 60)):
        state.write_bytes(flipped(data, place, source.randrange(1, 256)))
        with pytest.raises(IntegrityError) as caught:
            registry.client("rememberer").vendors()
        assert "state.json" in str(caught.value)
    state.write_bytes(data)
    assert client.vendors() == ("acme",)


@functools.cache
def _feeds(registry: RegistrySimulator) -> dict[str, tuple[bytes, Feed]]:
    return feeds(registry)


def _folder(registry: RegistrySimulator) -> Path:
    return registry.users / "rememberer"


def _release(registry: RegistrySimulator) -> tuple[ReleaseFiles, ReleaseEntry]:
    role = registry.role()
    ((path, target),) = role.targets.items()
    entry = read_entry(path, target, "corp", role.document.name)
    read = (registry.host.files[f"patches/{path}/{file}"] for file in FIELDS)
    files = ReleaseFiles(*read)
    assert entry.manifest == FileRef(len(files.manifest), Digest.of(files.manifest))
    return files, entry


def _verify(registry: RegistrySimulator, files: ReleaseFiles, entry: ReleaseEntry | None) -> None:
    keys = [key.public for key in registry.vendors["acme"]]
    verify_release(files, keys=keys, threshold=2, policy=Policy(), now=START, expected=entry).require()
