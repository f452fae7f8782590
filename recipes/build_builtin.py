"""Builds the registry that comes with the package, from the finished patches under `recipes/`.

    python recipes/build_builtin.py --base MODEL [--quantised GGUF]

Each `recipes/<patch>/<version>/` holds patch.toml, prefix.safetensors, training.json and claims.json. New keys are
made, used and thrown away; the digest of the new root is written into `patchpm/registry/builtin.py`. Commit the
registry and that line together.
"""

from __future__ import annotations

import argparse
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from patchpm.model.fingerprint import fingerprint
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import Fingerprint
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.packing import CLAIMS, DESCRIPTION, TRAINING, Ingredients, make_manifest
from patchpm.patch.release import PREFIX, ReleaseFiles
from patchpm.registry import builtin
from patchpm.registry.folder import FolderHost
from patchpm.registry.roles import Lifetimes, RootRoles
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.policy import key_set
from patchpm.trust.private_keys import PrivateKey, generate

_RECIPES = Path(__file__).parent
_YEARS = timedelta(days=3650)
"""Nobody can sign it anew, so it expires with the package rather than with a clock."""


def main() -> None:
    """Build it, and pin its root."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--quantised", type=Path, action="append", default=[])
    options = parser.parse_args()
    base = fingerprint(options.base).fingerprint
    copies = [fingerprint(path).fingerprint.tensors for path in options.quantised]
    target = builtin.builtin_host().root
    shutil.rmtree(target, ignore_errors=True)
    root = build(FolderHost(target), base, tuple(digest for digest in copies if digest is not None))
    for leftover in target.glob(".*"):
        leftover.unlink()
    _pin(root)


def build(host: FolderHost, base: Fingerprint, quantised: tuple[Digest, ...]) -> Digest:
    """Write the registry into an empty folder; return the digest of its root."""
    operator, vendor = generate(), generate()
    held = key_set([operator.public], 1)
    lifetimes = Lifetimes(_YEARS, _YEARS, _YEARS, _YEARS, _YEARS)
    writer = RegistryWriter(host, [operator, vendor], datetime.now(UTC), lifetimes=lifetimes)
    root = writer.create(RootRoles(held, held, held, held))
    writer.add_vendor(builtin.VENDOR, key_set([vendor.public], 1), allow_lookalike=True)
    for folder in sorted(path.parent for path in _RECIPES.glob(f"*/*/{DESCRIPTION}")):
        writer.publish(packed(folder, base, quantised, vendor))
    return root


def packed(folder: Path, base: Fingerprint, quantised: tuple[Digest, ...], vendor: PrivateKey) -> ReleaseFiles:
    """The signed release of one finished patch."""
    parts = Ingredients(
        (folder / DESCRIPTION).read_text("utf-8"),
        (folder / PREFIX).read_bytes(),
        (folder / TRAINING).read_bytes(),
        (folder / CLAIMS).read_bytes(),
    )
    return sign_release(write_manifest(make_manifest(parts, base, quantised)), parts.prefix, [vendor])


def _pin(root: Digest) -> None:
    path = Path(builtin.__file__)
    text, count = re.subn(r'(?<=Digest\.parse\(")sha256:[0-9a-f]{64}(?="\))', str(root), path.read_text("utf-8"))
    if count != 1:
        raise SystemExit(f"{path} does not pin one root")
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
