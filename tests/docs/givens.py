"""What a page of the documentation takes for granted, made before its first step."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from patchpm.model.demo_base import extract_demo_gguf
from patchpm.model.fingerprint import fingerprint
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.packing import CLAIMS, DESCRIPTION, TRAINING, Ingredients, make_manifest
from patchpm.patch.prefix import write_prefix
from patchpm.patch.release import PREFIX
from patchpm.registry.folder import FolderHost
from patchpm.registry.roles import RootRoles
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.policy import RegistryTrust, key_set
from patchpm.trust.policy_toml import with_registry
from patchpm.trust.private_keys import PrivateKey, generate, read_private_key
from tests.builders import digest, matrix
from tests.docs.shell import environment
from tests.train.tiny_run import write_base, write_recipe

BASE = "models/my-base"
REAL_BASE = Path(platformdirs.user_cache_path("patchpm")) / "models" / "SmolLM2-135M-Instruct"
_ABOUT = {
    "acme/manners": ("toxicity", "Answers politely"),
    "acme/privacy": ("privacy", "Keeps personal data to itself"),
}
"""Domain and summary of each patch."""
_WIDTH = 32
"""Of `tests.model.tiny.llama`."""
_DESCRIPTION = """\
name = "{name}"
version = "{version}"
domain = "{domain}"
summary = "{summary}"
licence = "Apache-2.0"
base = "my-base"
anchors = ["system-start"]
"""
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is carried out."""

    folder: Path
    """The reader's working folder."""
    home: Path
    """The reader's home folder; what patchpm keeps is in `patchpm` below it."""

    @property
    def config(self) -> Path:
        """What the reader has configured."""
        return self.home / "patchpm" / "config"


def base(place: Place) -> None:
    """A base model at `models/my-base`."""
    if not (place.folder / BASE).exists():
        write_base(place.folder / BASE)


def recipe(place: Place) -> None:
    """A recipe at `recipe/recipe.toml`."""
    write_recipe(place.folder / "recipe")


def prefix(place: Place) -> None:
    """The ingredients of `acme/manners` 1.0.0 in `made/`."""
    base(place)
    _ingredients(place.folder / "made", "acme/manners", "1.0.0")


def registry(place: Place) -> None:
    """A registry in `registry/`, with `acme/manners` 1.0.0 and `acme/privacy` 1.0.0, called `corp` by the reader."""
    base(place)
    writer = _writer(place)
    root, online = (key_set([_key(place, name).public], 1) for name in ("corp-root", "corp-online"))
    pin = writer.create(RootRoles(root, root, online, online))
    writer.add_vendor("acme", key_set([_key(place, "acme").public], 1))
    for name in _ABOUT:
        _publish(place, name, "1.0.0")
    trust = RegistryTrust("corp", str(place.folder / "registry"), pin, ("acme",))
    (place.config / "policy.toml").write_text(with_registry(None, trust))


def project(place: Place) -> None:
    """A project that has `acme/manners` 1.0.0 installed; 1.1.0 is out since."""
    registry(place)
    _run(place, "patchpm", "init", "--base", BASE)
    _run(place, "patchpm", "install", "acme/manners")
    _publish(place, "acme/manners", "1.1.0")


def git(place: Place) -> None:
    """The working folder is a git repository with everything in it but models and registry."""
    (place.folder / ".gitignore").write_text("models/\nregistry/\n")
    _run(place, "git", "init", "--quiet", "--initial-branch", "main")
    _run(place, "git", "add", ".")
    _run(place, "git", "commit", "--quiet", "--message", "Add patches")


def stock_gguf(place: Place) -> None:
    """The GGUF file that SmolLM2-135M-Instruct is converted from, under its own name."""
    extract_demo_gguf(platformdirs.user_cache_path("patchpm"), place.folder / "SmolLM2-135M-Instruct.Q4_1.gguf")


GIVENS: dict[str, Callable[[Place], None]] = {
    "base": base,
    "recipe": recipe,
    "prefix": prefix,
    "registry": registry,
    "project": project,
    "git": git,
    "stock gguf": stock_gguf,
}


def real_base(place: Place) -> None:
    """The converted SmolLM2-135M-Instruct in the cache, and the recipes of this repository."""
    models = place.home / "patchpm" / "cache" / "models"
    models.mkdir(parents=True)
    (models / REAL_BASE.name).symlink_to(REAL_BASE)
    (place.folder / "recipes").symlink_to(ROOT / "recipes")


def _ingredients(folder: Path, name: str, version: str) -> Ingredients:
    """What `patchpm pack` reads, written into a folder."""
    rows = matrix(tokens=6, hidden_size=_WIDTH, seed=sum(f"{name} {version}".encode()))
    training = {
        "method": "prefix: sft with kl anchor, then dpo",
        "recipe": str(digest("recipe")),
        "teacher": "replies written by hand",
        "seed": 7,
        "code": "patchpm 0.1.0",
        "data": [{"name": "own", "licence": "Apache-2.0", "sha256": str(digest("data"))}],
    }
    claim = {"metric": "refusal-rate", "suite": "held-out", "n": 200, "before": 0.05, "after": 0.9}
    domain, summary = _ABOUT[name]
    parts = Ingredients(
        _DESCRIPTION.format(name=name, version=version, domain=domain, summary=summary),
        write_prefix(rows),
        json.dumps(training).encode(),
        json.dumps([{**claim, "low": 0.85, "high": 0.93}]).encode(),
    )
    folder.mkdir(exist_ok=True)
    (folder / DESCRIPTION).write_text(parts.description)
    for file, data in ((PREFIX, parts.prefix), (TRAINING, parts.training), (CLAIMS, parts.claims)):
        (folder / file).write_bytes(data)
    return parts


def _publish(place: Place, name: str, version: str) -> None:
    """Publish a patch for the base in the registry."""
    parts = _ingredients(place.home / "ingredients", name, version)
    made = write_manifest(make_manifest(parts, fingerprint(place.folder / BASE).fingerprint))
    assert _writer(place).publish(sign_release(made, parts.prefix, [_key(place, "acme")]))


def _writer(place: Place) -> RegistryWriter:
    keys = [_key(place, name) for name in ("corp-root", "corp-online", "acme")]
    return RegistryWriter(FolderHost(place.folder / "registry"), keys, datetime.now(UTC))


def _key(place: Place, name: str) -> PrivateKey:
    """A key of the reader's, made when it is first asked for."""
    path = place.config / "keys" / name
    if not path.exists():
        key = generate()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.to_openssh(None))
        path.with_name(f"{name}.pub").write_text(f"{key.public}\n")
    return read_private_key(path.read_bytes())


def _run(place: Place, *command: str) -> None:
    subprocess.run(command, cwd=place.folder, env=environment(place.home), check=True, stdout=subprocess.DEVNULL)
