"""What patchpm writes is what its schemas describe."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchpm.export.provenance import ExportedBase, ExportedPatch, Provenance, parse_provenance, write_provenance
from patchpm.guard.reference import Reference
from patchpm.guard.reference_json import write_references
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import ANCHORS, DTYPES, MAX_TOKENS, Claim, Compose
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.name import PatchName
from patchpm.patch.patch_set import set_digest
from patchpm.patch.ranges import Range
from patchpm.patch.record import is_printable
from patchpm.patch.version import Version
from patchpm.project.lock import Composition, Lock, LockedRegistry
from patchpm.project.lock_toml import read_lock, write_lock
from patchpm.project.project_file import new_project_text, with_base, with_patch
from patchpm.registry.client import RegistryClient
from patchpm.registry.entry_json import to_target
from patchpm.registry.folder import FolderHost
from patchpm.registry.index import ReleaseEntry
from patchpm.trust.keys import PublicKey
from patchpm.trust.policy import Denial, EvaluatorTrust, NamePattern, RegistryTrust, VendorTrust, key_set
from patchpm.trust.policy_toml import with_denial, with_evaluator, with_registry, with_vendor
from tests.builders import base, digest, manifest
from tests.guard.any_reference import references
from tests.schema.formats import FORMATS, VECTORS
from tests.schema.lock_vectors import KEYS, lock
from tests.schema.registry_vectors import NOW

SEGMENTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?", fullmatch=True)
PATCHES = st.builds(PatchName, st.sampled_from(["acme", "0", "a-b"]), SEGMENTS)
NUMBERS = st.integers(0, 10**15 - 1).map(str)
WORDS = st.sampled_from(["0", "7", "alpha", "rc1", "-", "x-1"])
VERSIONS = st.builds(
    lambda numbers, pre, build: Version.parse(
        ".".join(numbers) + ("-" + ".".join(pre) if pre else "") + ("+" + ".".join(build) if build else "")
    ),
    st.lists(st.integers(0, 9999).map(str), min_size=3, max_size=3),
    st.lists(WORDS, max_size=3),
    st.lists(WORDS, max_size=2),
)
PARTIALS = st.lists(NUMBERS, min_size=1, max_size=3).map(".".join) | st.sampled_from(["*", "1.x", "1.2.3-rc.1"])
SIMPLES = st.builds(str.__add__, st.sampled_from(["", "^", "~", "~>", ">=", "> ", "<", "<=", "="]), PARTIALS)
ALTERNATIVES = st.lists(SIMPLES, min_size=1, max_size=2).map(", ".join) | st.builds(
    "{} - {}".format, PARTIALS, PARTIALS
)
RANGES = st.lists(ALTERNATIVES, min_size=1, max_size=2).map("||".join).map(Range.parse)
TEXTS = st.text(st.characters(exclude_categories=["C"]).filter(is_printable), min_size=1, max_size=200)
DIGESTS = st.binary(max_size=4).map(Digest.of)
WANTED = st.dictionaries(PATCHES, RANGES, max_size=3).map(lambda found: tuple(sorted(found.items())))
ORDERS = st.sets(PATCHES, max_size=3).map(lambda found: tuple(sorted(found)))
COMPOSES = st.builds(Compose, WANTED, WANTED, ORDERS, ORDERS)
CLAIMS = st.builds(
    lambda figures, n: Claim("toxic-rate", "held-out", n, figures[0], figures[2], figures[1], figures[3]),
    st.lists(st.floats(-1e300, 1e300), min_size=4, max_size=4).map(sorted),
    st.integers(1, 10**9),
)
FEW = settings(max_examples=25, deadline=None)


@FEW
@given(PATCHES, VERSIONS, TEXTS, COMPOSES, st.lists(CLAIMS, max_size=2), st.sets(DIGESTS, max_size=3))
def test_any_manifest_that_is_written_validates(
    name: PatchName, version: Version, text: str, compose: Compose, claims: list[Claim], quantised: set[Digest]
) -> None:
    made = replace(
        manifest(),
        name=name,
        version=version,
        summary=text,
        compose=compose,
        claims=tuple(claims),
        base=base(quantised=tuple(sorted(quantised)), bf16=None, files=(("a/b.safetensors", digest("f")),)),
    )
    assert FORMATS["manifest"].allows(json.loads(write_manifest(made)))


@FEW
@given(PATCHES, VERSIONS, WANTED, DIGESTS, st.sampled_from(ANCHORS), st.integers(1, 2**31))
def test_any_lock_that_is_written_validates_and_is_read_back(
    name: PatchName,
    version: Version,
    requires: tuple[tuple[PatchName, Range], ...],
    requirements: Digest,
    anchor: str,
    seen: int,
) -> None:
    start = lock()
    release = replace(start.releases[0], name=name, version=version, requires=requires)
    made = Lock(
        requirements=requirements,
        bases=start.bases,
        registries=(LockedRegistry("corp", seen, seen, seen, seen),),
        releases=(release,),
        compositions=(Composition(release.base, anchor, (name,), release.tokens, requirements),),
    )
    text = write_lock(made)
    assert FORMATS["lock"].allows(tomllib.loads(text))
    assert read_lock(text) == made


@FEW
@given(
    st.lists(st.builds(ExportedPatch, PATCHES, VERSIONS, DIGESTS, st.integers(1, MAX_TOKENS)), min_size=1, max_size=3),
    st.sampled_from(ANCHORS),
    st.builds(ExportedBase, *[st.none() | DIGESTS] * 4),
    st.sampled_from(tuple(DTYPES)),
    st.integers(0, 2**31 - 1),
)
def test_any_export_that_is_written_validates_and_is_read_back(
    patches: list[ExportedPatch], anchor: str, measured: ExportedBase, dtype: str, first: int
) -> None:
    there = tuple({one.name: one for one in patches}.values())
    rows = sum(one.tokens for one in there)
    members = ((one.name, one.version, one.prefix) for one in there)
    made = Provenance(
        "0.1.0", set_digest(anchor, members), anchor, measured, there, rows + 1, first, rows, dtype, digest("rows")
    )
    data = write_provenance(made)
    assert FORMATS["export"].allows(json.loads(data))
    assert parse_provenance(data) == made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(references())
def test_any_probes_that_are_written_validate(reference: Reference) -> None:
    assert FORMATS["probes"].allows(json.loads(write_references([reference])))


@FEW
@given(PATCHES, RANGES, TEXTS)
def test_any_project_file_that_is_edited_validates(name: PatchName, wanted: Range, location: str) -> None:
    text = with_patch(with_base(new_project_text("small", "m"), "small.q4", location), name, wanted)
    assert FORMATS["project"].allows(tomllib.loads(text))


def test_a_policy_that_is_edited_validates() -> None:
    keys = key_set(map(PublicKey.parse, KEYS), 2)
    text = with_registry(None, RegistryTrust("corp", "/srv/patches", digest("root"), ("acme", "labx")))
    text = with_registry(text, RegistryTrust("all", "file:///mnt", digest("other"), ("*",)))
    text = with_vendor(text, VendorTrust("acme", keys, ("toxicity",)))
    text = with_vendor(text, VendorTrust("labx", keys, ()))
    text = with_evaluator(text, EvaluatorTrust("labx", keys))
    text = with_denial(text, Denial(NamePattern("acme/old-*"), "superseded"))
    assert FORMATS["policy"].allows(tomllib.loads(text))


def test_the_small_registry_reads_from_either_root_and_its_entries_validate(tmp_path: Path) -> None:
    folder = VECTORS / "registry"
    found: list[tuple[ReleaseEntry, ...]] = []
    for root in ("1.root.json", "2.root.json"):
        pin = Digest.of((folder / "metadata" / root).read_bytes())
        client = RegistryClient(FolderHost(folder), "corp", pin, tmp_path, NOW)
        assert client.vendors() == ("acme",)
        found.append(client.entries(PatchName("acme", "toxicity")))
        for entry in found[-1]:
            assert FORMATS["index-entry"].allows(to_target(entry).custom)
            assert Digest.of(client.fetch(entry).manifest) == entry.manifest.digest
    assert found[0] == found[1]
    assert {str(entry.version): entry.yanked for entry in found[0]} == {
        "1.1.0": "replies in the wrong language",
        "1.2.0": None,
    }


def test_the_small_registry_in_bins_reads(tmp_path: Path) -> None:
    folder = VECTORS / "registry-in-bins"
    pin = Digest.of((folder / "metadata" / "1.root.json").read_bytes())
    client = RegistryClient(FolderHost(folder), "corp", pin, tmp_path, NOW)
    assert client.state.bits == 3
    assert [str(entry.version) for entry in client.entries(PatchName("acme", "toxicity"))] == ["1.2.0"]
    assert client.vendors() == ("acme", "another", "labx")
