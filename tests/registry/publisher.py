"""A publisher in a process of its own, for tests that race or kill it.

python -m tests.registry.publisher REGISTRY KEYS NAME FIRST COUNT
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.prefix import write_prefix
from patchpm.registry.hosts import open_host
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.private_keys import read_private_key
from tests.builders import manifest, matrix


def main(registry: str, keys: str, name: str, first: str, count: str) -> None:
    """Publish some versions of one patch, and say so after each."""
    signers = [read_private_key(path.read_bytes()) for path in sorted(Path(keys).iterdir())]
    vendor = [signer for signer in signers if signer.public.scheme == "p256"]
    for number in range(int(first), int(first) + int(count)):
        rows = matrix(seed=number)
        made = write_manifest(manifest(name, f"1.0.{number}", prefix=rows))
        files = sign_release(made, write_prefix(rows), vendor)
        RegistryWriter(open_host(registry), signers, datetime.now(UTC)).publish(files)
        print(f"1.0.{number}", flush=True)  # noqa: T201  # how the test learns what must be there


if __name__ == "__main__":
    main(*sys.argv[1:])
