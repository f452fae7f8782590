"""One publisher or installer of a crowd, in a process of its own.

    python -m tests.reliability.crowd publish|install REGISTRY KEYS PIN NAME SECONDS

Says `ready`, waits for a line, works for that long, and prints what it did as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import patchpm.registry.hub_writer  # noqa: F401  # imported now, so that everyone starts at once
from patchpm.errors import PatchpmError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.name import PatchName
from patchpm.patch.prefix import write_prefix
from patchpm.registry.client import RegistryClient
from patchpm.registry.hosts import open_host
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.policy import Policy
from patchpm.trust.private_keys import read_private_key
from patchpm.trust.release import verify_release
from tests.builders import manifest, matrix


def main(doing: str, registry: str, keys: str, pin: str, name: str, seconds: str) -> None:
    """Work until the time is over."""
    done: list[str] = []
    errors: list[str] = []
    print("ready", flush=True)  # noqa: T201  # how the test learns that it may begin
    sys.stdin.readline()
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        try:
            if doing == "publish":
                done.append(publish(registry, Path(keys), name, len(done)))
            else:
                done += install(registry, Digest.parse(pin), name)
        except PatchpmError as error:
            errors.append(f"{error.code}: {error}")
    print(json.dumps({"done": done, "errors": errors}), flush=True)  # noqa: T201


def publish(registry: str, keys: Path, name: str, number: int) -> str:
    """Publish the next version; returns it."""
    signers = [read_private_key(path.read_bytes()) for path in sorted(keys.iterdir())]
    rows = matrix(seed=number)
    made = write_manifest(manifest(name, f"1.0.{number}", prefix=rows))
    vendor = [signer for signer in signers if signer.public.scheme == "p256"]
    files = sign_release(made, write_prefix(rows), vendor)
    assert RegistryWriter(open_host(registry), signers, datetime.now(UTC)).publish(files)
    return f"1.0.{number}"


def install(registry: str, pin: Digest, name: str) -> list[str]:
    """Install the newest release from nothing, verified; returns its version, or nothing where none is there yet."""
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        client = RegistryClient(open_host(registry), "corp", pin, Path(folder), now)
        entries = sorted(client.entries(PatchName.parse(name)), key=lambda entry: entry.version)
        if not entries:
            return []
        keys = client.vendor_keys(entries[-1].name.vendor)
        files = client.fetch(entries[-1])
        verify_release(
            files, keys=keys.keys, threshold=keys.threshold, policy=Policy(), now=now, expected=entries[-1]
        ).require()
        return [str(entries[-1].version)]


if __name__ == "__main__":
    main(*sys.argv[1:])
