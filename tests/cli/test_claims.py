"""Claims measured again, and evaluations signed: from the vendor's release to the user who asks for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from patchpm.patch.manifest import Claim
from patchpm.patch.manifest_json import claims_from, write_manifest
from patchpm.patch.prefix import PrefixMatrix, write_prefix
from patchpm.patch.record import Record
from patchpm.patch.release import ReleaseFiles
from patchpm.trust.attestations import sign_release
from tests.builders import manifest, matrix
from tests.evaluate.tiny_suite import briefly, write_suite
from tests.train.tiny_run import write_base
from tests.world import Result, World, base_model

SUITE = """
schema = 1
seed = 3

[[source]]
name = "bad"
measure = "refusal"
licence = "Apache-2.0"
file = "harmful.txt"
rows = 5

[[source]]
name = "good"
measure = "over-refusal"
licence = "Apache-2.0"
file = "benign.txt"
rows = 4
"""
__all__ = ["briefly"]  # replies of few tokens here as well

UNKNOWN = Claim("kindness", "held-out-kind", 200, 0.1, 0.9, 0.85, 0.93)
DEMAND = '\n[[require]]\nmatch = "acme/*"\nevaluators = ["labx"]\n'


@dataclass(frozen=True)
class Measured:
    """What the vendor has measured, and the home folder in which what the base does was kept meanwhile."""

    claims: tuple[Claim, ...]
    home: Path


class Vendor:
    """A vendor with a patch for the tiny model, who has measured it."""

    def __init__(self, world: World, measured: Measured | None = None) -> None:
        self.world = world
        world.base = write_base(world.root / "models" / "real-tiny")
        self.suite = str(write_suite(world.root / "suite", SUITE))
        self.rows: PrefixMatrix = matrix(3, hidden_size=32, seed=1)
        if measured is not None:
            shutil.copytree(measured.home / "cache", world.home / "cache", dirs_exist_ok=True)
        self.measured = measured or self._measure()
        self.claims = self.measured.claims

    def _measure(self) -> Measured:
        world, path = self.world, self.world.root / "prefix.safetensors"
        path.write_bytes(write_prefix(self.rows))
        told = world.ok("evaluate", str(path), "--base", str(world.base), "--suite", self.suite, "--json").json
        return Measured(claims_from(Record({"claims": told["claims"]}, "claims", code="malformed")), world.home)

    def release(self, claims: Iterable[Claim], version: str = "1.0.0") -> ReleaseFiles:
        made = manifest(version=version, prefix=self.rows, base=base_model(self.world.base), claims=tuple(claims))
        return sign_release(write_manifest(made), write_prefix(self.rows), [self.world.vendor])

    def publish(self, claims: Iterable[Claim], version: str = "1.0.0") -> None:
        assert self.world.writer().publish(self.release(claims, version))

    def folder(self, claims: Iterable[Claim], version: str = "1.0.0") -> Path:
        path = self.world.root / f"release-{version}"
        path.mkdir()
        for name, data in self.release(claims, version).items():
            (path / name).write_bytes(data)
        return path

    def attest(self, release: Path, *more: str) -> Result:
        """What labx does."""
        options = ("--base", str(self.world.base), "--suite", self.suite, "--key", "labx", "--json")
        return self.world.run("attest", str(release), *options, *more)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    with pytest.MonkeyPatch.context() as patched:
        return Vendor(World(tmp_path_factory.mktemp("measured"), patched)).measured


@pytest.fixture
def vendor(world: World, measured: Measured) -> Vendor:
    world.ok("key", "generate", "labx", "--no-passphrase")
    return Vendor(world, measured)


def lied(claims: Iterable[Claim]) -> list[Claim]:
    """The claims, one of them far better than it is."""
    return [
        replace(claim, after=1.0, low=0.95, high=1.0)
        if (claim.metric, claim.suite) == ("refusal-rate", "held-out-harmful")
        else claim
        for claim in claims
    ]


def verdicts(result: Result) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for one in result.json[0]["claims"]:
        found.setdefault(one["verdict"], []).append(one)
    return found


def test_the_claims_of_what_is_installed_are_measured_again_and_hold(vendor: Vendor) -> None:
    vendor.publish(vendor.claims)
    world = vendor.world.started("acme/toxicity")
    done = world.run("verify", "--claims", "--suite", vendor.suite, "--json")
    assert done.code == 0
    assert [len(found) for found in verdicts(done).values()] == [len(vendor.claims)]
    assert list(verdicts(done)) == ["holds"]
    told = world.ok("verify", "--claims", "--suite", vendor.suite).out
    assert f"{len(vendor.claims)} of {len(vendor.claims)} claims hold" in told


def test_a_claim_that_does_not_hold_is_a_finding(vendor: Vendor) -> None:
    vendor.publish(lied(vendor.claims))
    world = vendor.world.started("acme/toxicity")
    done = world.run("verify", "--claims", "--suite", vendor.suite, "--json")
    assert done.code == 6
    (broken,) = verdicts(done)["does not hold"]
    assert broken["claim"]["after"] == 1.0
    assert broken["measured"]["after"] < 0.5
    assert "1 does not" in world.run("verify", "--claims", "--suite", vendor.suite).out
    assert world.run("verify").code == 0


def test_a_claim_on_rows_or_metrics_that_are_not_known_is_told_and_not_dropped(vendor: Vendor) -> None:
    release = vendor.folder([UNKNOWN, replace(vendor.claims[0], suite="rows of my own")])
    asked = ("verify", str(release), "--claims", "--base", str(vendor.world.base), "--suite", vendor.suite)
    done = vendor.world.run(*asked, "--json")
    assert done.code == 0
    assert [one["why"] for one in verdicts(done)["cannot be measured here"]] == [
        "this patchpm does not know the metric kindness",
        f"there are no rows called rows of my own here for {vendor.claims[0].metric}",
    ]
    assert "0 of 2 claims hold; 2 cannot be measured here" in vendor.world.ok(*asked).out


def test_other_rows_and_a_quick_look_are_named(vendor: Vendor) -> None:
    release = vendor.folder([replace(vendor.claims[0], n=vendor.claims[0].n + 40)])
    asked = ("verify", str(release), "--claims", "--base", str(vendor.world.base), "--suite", vendor.suite, "--json")
    (other,) = verdicts(vendor.world.run(*asked))["compatible"]
    assert other["why"] == "measured on other rows: n 45 then, 5 now"
    look = vendor.world.run(*asked, "--limit", "1")
    assert "a quick look" in look.err
    assert verdicts(look)["compatible"][0]["why"] == "a quick look: n 45 then, 1 now"


def test_what_fails_verification_is_not_measured(vendor: Vendor) -> None:
    release = vendor.folder(vendor.claims)
    (release / "manifest.json").write_bytes((release / "manifest.json").read_bytes() + b"\n")
    done = vendor.world.run("verify", str(release), "--claims", "--base", str(vendor.world.base), "--json")
    assert done.code == 4
    assert "claims" not in done.json[0]


def test_a_release_is_not_measured_on_another_model(vendor: Vendor) -> None:
    release = vendor.folder(vendor.claims)
    other = vendor.world.root / "other"
    write_base(other)
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x11")
    refused = vendor.world.run("verify", str(release), "--claims", "--base", str(other), "--json")
    assert refused.error["code"] == "base-mismatch"
    assert vendor.attest(release, "--base", str(other)).error["code"] == "base-mismatch"


@pytest.mark.parametrize(
    "arguments",
    [("--base", "m"), ("--limit", "3"), ("--claims", "--base", "m"), (".", "--claims"), (".", "--judge", "x")],
)
def test_options_that_say_nothing_are_refused(world: World, arguments: tuple[str, ...]) -> None:
    refused = world.run("verify", *arguments, "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage")


def test_a_release_that_must_be_evaluated_installs_once_the_evaluator_has_signed(vendor: Vendor) -> None:
    world = vendor.world
    labx = world.ok("key", "show", "labx").out.strip()
    world.ok("trust", "evaluator", "labx", "--key", labx)
    policy = world.home / "config" / "policy.toml"
    policy.write_text(policy.read_text() + DEMAND)
    vendor.publish(vendor.claims, "1.0.0")
    world.started()
    refused = world.run("install", "acme/toxicity", "--json")
    assert (refused.code, refused.error["code"]) == (4, "evaluation-missing")
    assert "labx" in refused.error["why"]

    release = vendor.folder(vendor.claims, "1.0.1")
    assert world.run("verify", str(release)).code == 4
    done = vendor.attest(release)
    assert (done.code, done.json["changed"], done.json["contradicts"]) == (0, True, [])
    for name, key in (("online", world.operator), ("acme", world.vendor)):
        (world.root / name).write_bytes(key.to_openssh(None))
    keys = ("--key", str(world.root / "online"), "--key", str(world.root / "acme"))
    assert world.ok("publish", str(release), "--registry", str(world.registry), *keys, "--json").json["changed"]
    world.ok("install", "acme/toxicity")
    assert world.locked == {"acme/toxicity": "1.0.1"}

    (verified,) = world.ok("verify", "--json").json
    (told,) = verified["evaluations"]
    assert (told["by"], told["in_common"], told["contradicts"]) == ("labx", len(vendor.claims), [])
    assert [suite["name"] for suite in told["suites"]] == ["tiny"]
    assert f"labx measured {len(vendor.claims)} of the vendor's {len(vendor.claims)} claims, and contradicts none" in (
        world.ok("info", "acme/toxicity").out
    )


def test_an_evaluation_that_contradicts_the_vendor_is_shown_as_such(vendor: Vendor) -> None:
    world = vendor.world
    release = vendor.folder(lied(vendor.claims))
    done = vendor.attest(release)
    assert done.code == 0
    assert "contradicted" in done.err
    nobody = world.ok("verify", str(release), "--json").json[0]
    assert nobody["evaluations"] == []
    world.ok("trust", "evaluator", "labx", "--key", world.ok("key", "show", "labx").out.strip())
    told = world.ok("verify", str(release)).out
    assert "evaluated by labx with patchpm" in told
    assert "and contradicts 1:" in told
    assert "1 claimed, 0 measured" in told


def test_evaluating_twice_changes_nothing_and_a_second_evaluator_is_added(vendor: Vendor) -> None:
    release = vendor.folder(vendor.claims)
    assert vendor.attest(release).json["changed"]
    once = (release / "attestations.jsonl").read_bytes()
    assert not vendor.attest(release).json["changed"]
    assert (release / "attestations.jsonl").read_bytes() == once
    vendor.world.ok("key", "generate", "laby", "--no-passphrase")
    options = ("--base", str(vendor.world.base), "--suite", vendor.suite, "--key", "laby")
    assert "signed" in vendor.world.ok("attest", str(release), *options).out
    assert (release / "attestations.jsonl").read_bytes().startswith(once)


def test_what_cannot_be_signed_is_refused_before_it_is_measured(vendor: Vendor) -> None:
    release = vendor.folder(vendor.claims)
    before = (release / "attestations.jsonl").read_bytes()
    refused = vendor.attest(release, "--judge", "j" * 201)
    assert refused.error["code"] == "invalid-evaluation"
    assert (release / "attestations.jsonl").read_bytes() == before


def test_only_a_whole_release_that_verifies_is_evaluated(vendor: Vendor) -> None:
    release = vendor.folder(vendor.claims)
    lines = (release / "manifest.json").read_text()
    (release / "manifest.json").write_text(json.dumps(json.loads(lines)))
    assert vendor.attest(release).error["code"] == "wrong-subject"
