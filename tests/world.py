"""A small world for whole commands: a base model, a signed registry, a user who trusts it, and a project."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from patchpm.cli.app import run
from patchpm.model.fingerprint import fingerprint
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.name import PatchName
from patchpm.patch.prefix import write_prefix
from patchpm.patch.release import ReleaseFiles
from patchpm.patch.version import Version
from patchpm.project.lock import Lock
from patchpm.project.lock_toml import read_lock
from patchpm.registry.folder import FolderHost
from patchpm.registry.roles import RootRoles
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.policy import RegistryTrust, key_set
from patchpm.trust.policy_toml import with_registry
from patchpm.trust.private_keys import PrivateKey, generate
from tests.builders import manifest, matrix
from tests.simulator import MemoryHost

WIDTH = 8
ONLY_OURS = 'version = 1\n[[deny]]\nmatch = "patchpm/*"\nreason = "this user takes patches of the company only"\n'
"""A policy under which the built-in registry's patches are out of the way, so that bare names mean this world's."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed as data."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """What it printed as an error, with --json."""
        return json.loads(self.err)["error"]


class World:
    """Everything under one temporary folder; the environment points there."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, vendors: tuple[str, ...] = ("acme",)) -> None:
        self.root = root
        self.home = root / "home"
        self.project = root / "project"
        self.registry = root / "registry"
        self.project.mkdir()
        monkeypatch.setenv("PATCHPM_HOME", str(self.home))
        monkeypatch.delenv("CI", raising=False)
        monkeypatch.delenv("PATCHPM_OFFLINE", raising=False)
        monkeypatch.chdir(self.project)
        self.base = model(root / "models" / "tiny")
        signed = _signed(vendors)
        self.operator, self.vendor, self.pin = signed.operator, signed.vendor, signed.pin
        for name, data in signed.files.items():
            path = self.registry / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.trust(vendors)

    def writer(self, *more: PrivateKey, late: timedelta = timedelta()) -> RegistryWriter:
        """The registry's writer with all keys of this world and `more`."""
        keys = [self.operator, self.vendor, *more]
        return RegistryWriter(FolderHost(self.registry), keys, datetime.now(UTC) + late)

    def trust(self, vendors: tuple[str, ...], alias: str = "corp") -> None:
        """Let the user's policy trust this registry for `vendors`."""
        path = self.home / "config" / "policy.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.exists() else None
        path.write_text(with_registry(text or ONLY_OURS, RegistryTrust(alias, str(self.registry), self.pin, vendors)))

    def release(self, name: str = "acme/toxicity", version: str = "1.0.0", **changes: Any) -> ReleaseFiles:
        """A signed release for this world's base."""
        rows = changes.pop("prefix", matrix(hidden_size=WIDTH, seed=sum(f"{name} {version}".encode())))
        target = changes.pop("for_base", None) or base_model(self.base)
        made = manifest(name, version, prefix=rows, base=target, **changes)
        return sign_release(write_manifest(made), write_prefix(rows), [self.vendor])

    def publish(self, name: str = "acme/toxicity", version: str = "1.0.0", **changes: Any) -> ReleaseFiles:
        """Publish such a release."""
        files = self.release(name, version, **changes)
        assert self.writer().publish(files)
        return files

    def yank(self, name: str, version: str, reason: str = "over-refuses") -> None:
        """Yank a version."""
        assert self.writer().yank(PatchName.parse(name), Version.parse(version), reason)

    def run(self, *arguments: str) -> Result:
        """Run a command."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(list(arguments))
        return Result(code, out.getvalue(), err.getvalue())

    def ok(self, *arguments: str) -> Result:
        """Run a command that must succeed."""
        found = self.run(*arguments)
        assert found.code == 0, found.err
        return found

    def started(self, *installed: str) -> World:
        """With a project for the base, and patches installed."""
        self.ok("init", "--base", str(self.base), "--label", "tiny")
        if installed:
            self.ok("install", *installed)
        return self

    @property
    def lock(self) -> Lock:
        """The project's lock."""
        return read_lock((self.project / "patchpm.lock").read_text())

    @property
    def locked(self) -> dict[str, str]:
        """Versions in the lock."""
        return {str(name): str(version) for name, version in self.lock.versions().items()}

    def stored(self) -> list[Path]:
        """Every file of the store."""
        return sorted(path for path in (self.home / "data" / "store").rglob("*") if path.is_file())


@dataclass(frozen=True, slots=True)
class _Signed:
    """A registry without patches, and the keys that it is in the hands of."""

    operator: PrivateKey
    vendor: PrivateKey
    pin: Digest
    files: Mapping[str, bytes]


@cache
def _signed(vendors: tuple[str, ...]) -> _Signed:
    """Made once for all tests, since most of a world's cost is in signatures: no test has two worlds of one kind."""
    operator, vendor, host = generate(), generate(), MemoryHost()
    writer = RegistryWriter(host, [operator, vendor], datetime.now(UTC))
    pin = writer.create(roles(operator))
    for name in vendors:
        writer.add_vendor(name, key_set([vendor.public], 1), allow_lookalike=True)
    return _Signed(operator, vendor, pin, host.files)


def roles(*keys: PrivateKey) -> RootRoles:
    """All top-level roles in the same hands."""
    held = key_set([key.public for key in keys], 1)
    return RootRoles(held, held, held, held)


def model(path: Path, seed: int = 0) -> Path:
    """A folder that is a base model as far as fingerprints go."""
    path.mkdir(parents=True)
    source = np.random.default_rng(seed)
    weights = {
        "model.embed_tokens.weight": source.standard_normal((16, WIDTH), dtype=np.float32),
        "model.norm.weight": source.standard_normal(WIDTH, dtype=np.float32),
    }
    save_file(weights, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"hidden_size": WIDTH}))
    return path


def base_model(path: Path) -> BaseModel:
    """The manifest's view of the model in a folder."""
    found = fingerprint(path).fingerprint
    assert found.tensors is not None
    return BaseModel(path.name, found.tensors, found.bf16, (), (), found.tokenizer, found.template, found.hidden_size)
