"""What earlier versions of patchpm have written stays readable, byte for byte."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from patchpm.patch.digest import Digest
from patchpm.patch.manifest_json import read_manifest, write_manifest
from patchpm.patch.name import PatchName
from patchpm.patch.prefix import read_prefix, write_prefix
from patchpm.registry.client import RegistryClient
from patchpm.registry.folder import FolderHost
from patchpm.trust.attestations import read_attestations, write_attestations
from patchpm.trust.keys import PublicKey
from patchpm.trust.policy import Demand, EvaluatorTrust, NamePattern, Policy, key_set
from patchpm.trust.release import verify_release

GOLDEN = Path(__file__).parents[1] / "golden"
TOXICITY = PatchName.parse("acme/toxicity")


class Golden:
    """One version's registry, and what a user of it would trust."""

    def __init__(self, version: str, state: Path) -> None:
        trust = json.loads((GOLDEN / version / "trust.json").read_text())
        self.now = datetime.fromisoformat(trust["now"])
        self.keys = key_set([PublicKey.parse(text) for text in trust["vendor"]], trust["threshold"])
        self.evaluator = PublicKey.parse(trust["evaluator"])
        host = FolderHost(GOLDEN / version / "registry")
        self.client = RegistryClient(host, "golden", Digest.parse(trust["root"]), state, self.now)


@pytest.fixture(params=sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()))
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Golden:
    return Golden(request.param, tmp_path)


def test_a_golden_registry_is_read_as_it_was_written(golden: Golden) -> None:
    assert golden.client.state.root.version == 2
    assert golden.client.vendor_keys("acme") == golden.keys
    first, second = sorted(golden.client.entries(TOXICITY), key=lambda entry: entry.version, reverse=True)
    assert (str(first.version), first.yanked) == ("1.1.0-rc.1", None)
    assert (str(second.version), second.yanked) == ("1.0.0", "over-refuses")
    assert [(str(name), str(wanted)) for name, wanted in first.compose.requires] == [("acme/bias", "^1.0.0")]


def test_golden_releases_verify_with_their_evaluations(golden: Golden) -> None:
    policy = Policy(
        evaluators=(EvaluatorTrust("labx", key_set([golden.evaluator], 1)),),
        demands=(Demand(NamePattern("acme/*"), ("labx",), timedelta()),),
    )
    for entry in golden.client.entries(TOXICITY):
        release = verify_release(
            golden.client.fetch(entry),
            keys=golden.keys.keys,
            threshold=golden.keys.threshold,
            policy=policy,
            now=golden.now,
            expected=entry,
        ).require()
        assert release.signers == golden.keys.keys
        assert release.evaluators == ("labx",)


def test_golden_files_are_what_would_be_written_today(golden: Golden) -> None:
    for entry in golden.client.entries(TOXICITY):
        files = golden.client.fetch(entry)
        manifest = read_manifest(files.manifest)
        assert write_manifest(manifest) == files.manifest
        rows = read_prefix(files.prefix, manifest.prefix, manifest.base.hidden_size)
        assert write_prefix(rows) == files.prefix
        statements = read_attestations(files.attestations)
        assert write_attestations([item.envelope for item in statements]) == files.attestations
