"""What a registry of up to a million releases costs: bytes, requests and seconds of installing, publishing, searching.

Each size has 100 releases a vendor (5 patches of 20 versions). Reading goes over HTTP on loopback, with connections
kept open; writing goes into a folder. Requests are reads of a host, also of files that do not exist. Warm runs come
after a vendor has published: one in another bin, one in the same bin, and the very vendor whose patch is installed.

    python benchmarks/registry_scale.py [--releases 1000 10000 ...] [--search 10000] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from many_vendors import PER_VENDOR, Registry, make_registry, vendor_name
from rich.console import Console
from rich.table import Table

from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel
from patchpm.patch.manifest import Compose, FileRef, Manifest, Prefix, Training
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.name import PatchName
from patchpm.patch.prefix import PrefixMatrix, write_prefix
from patchpm.patch.release import ReleaseFiles
from patchpm.patch.version import Version
from patchpm.registry.client import RegistryClient
from patchpm.registry.folder import FolderHost
from patchpm.registry.host import Change, Host
from patchpm.registry.index import ReleaseEntry
from patchpm.registry.publication import entry_of
from patchpm.registry.web import WebHost
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.policy import Policy, key_set
from patchpm.trust.private_keys import PrivateKey, generate
from patchpm.trust.release import verify_release
from patchpm.trust.tuf_bins import Bin

TOKENS, WIDTH = 50, 576
SIZES = (1_000, 10_000, 100_000, 1_000_000)
_BASE = BaseModel("SmolLM2-135M-Instruct", Digest.of(b"tensors"), Digest.of(b"bf16"), (), (), None, None, WIDTH)


@dataclass(slots=True)
class CountingHost:
    """A host that counts what goes through it."""

    host: Host
    requests: int = 0
    metadata: int = 0
    releases: int = 0
    written: int = 0

    @property
    def where(self) -> str:
        """See `Host.where`."""
        return self.host.where

    @property
    def is_local(self) -> bool:
        """See `Host.is_local`."""
        return self.host.is_local

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """See `Host.read`."""
        self.requests += 1
        data = self.host.read(path, max_bytes)
        if path.startswith("metadata/"):
            self.metadata += len(data or b"")
        else:
            self.releases += len(data or b"")
        return data

    def head(self) -> str:
        """See `Host.head`."""
        return self.host.head()

    def commit(self, changes: Sequence[Change], expect: str) -> None:
        """See `Host.commit`."""
        self.written += sum(len(data) for _, data in changes)
        self.host.commit(changes, expect)


def main() -> None:
    """Make each registry, measure it, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, nargs="+", default=SIZES)
    parser.add_argument("--search", type=int, default=10_000, help="largest registry that is searched as a whole")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for releases in options.releases:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            registry = make_registry(Path(folder) / "registry", releases, _like())
            made = time.perf_counter() - started
            Console(stderr=True).print(f"{releases:,} releases made in {made:.0f} s")
            with Served(registry.folder) as url:
                rows += measure(registry, url, Path(folder) / "users", search=releases <= options.search)
    table = Table("releases", "what", "metadata, bytes", "release, bytes", "requests", "written, bytes", "seconds")
    for row in rows:
        cells = [f"{row[key]:,}" for key in ("metadata", "release", "requests", "written")]
        table.add_row(f"{row['releases']:,}", row["what"], *cells, f"{row['seconds']:.2f}")
    Console(width=140).print(table)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


def measure(registry: Registry, url: str, users: Path, *, search: bool) -> list[dict[str, Any]]:
    """All figures of one registry."""
    rows: list[dict[str, Any]] = []
    size = len(registry.vendors) * PER_VENDOR

    def timed(what: str, host: CountingHost, act: Callable[[], object]) -> None:
        started = time.perf_counter()
        act()
        rows.append(
            {
                "releases": size,
                "what": what,
                "metadata": host.metadata,
                "release": host.releases,
                "requests": host.requests,
                "written": host.written,
                "seconds": round(time.perf_counter() - started, 3),
            }
        )

    def reading(what: str, act: Callable[[RegistryClient], object], user: str = "user") -> None:
        host = CountingHost(WebHost(url))
        timed(what, host, lambda: act(RegistryClient(host, "bench", registry.pin, users / user, datetime.now(UTC))))

    def writing(what: str, keys: Sequence[PrivateKey], act: Callable[[RegistryWriter], object]) -> None:
        host = CountingHost(FolderHost(registry.folder))
        timed(what, host, lambda: act(RegistryWriter(host, keys, datetime.now(UTC))))

    offline, online = registry.operator
    wanted, near, far = _three(registry)

    def publish(what: str, vendor: str, version: str = "2.0.0") -> None:
        key = registry.vendors[vendor]
        files = _release(f"{vendor}/patch-0", version, key)
        writing(what, [online, key], lambda writer: writer.publish(files))

    publish("publish", wanted)
    name = PatchName(wanted, "patch-0")
    reading("cold first install", lambda client: _install(client, name))
    reading("warm, nothing new", lambda client: client.entries(name))
    publish("(another vendor publishes)", far)
    reading("warm, other vendor", lambda client: client.entries(name))
    publish("(a vendor of the same bin publishes)", near)
    reading("warm, same bin", lambda client: client.entries(name))
    publish("(the vendor itself publishes)", wanted, "2.1.0")
    reading("warm, this vendor", lambda client: client.entries(name))
    writing(
        "add a vendor", [offline, online], lambda writer: writer.add_vendor("zebra", key_set([generate().public], 1))
    )
    writing("refresh, nothing due", [online], lambda writer: writer.refresh())
    if search:
        reading("search, cold", _search, "searcher")
        reading("search, warm", _search, "searcher")
    return [row for row in rows if not row["what"].startswith("(")]


def _three(registry: Registry) -> tuple[str, str, str]:
    """A vendor, one of the same bin, and one of another bin. Where there are no bins all is one."""
    first, *others = registry.vendors
    bits = 6
    near = next((name for name in others if Bin.of(name, bits) == Bin.of(first, bits)), others[0])
    return first, near, next(name for name in others if Bin.of(name, bits) != Bin.of(first, bits))


def _install(client: RegistryClient, name: PatchName) -> None:
    """What installing does with a registry: resolve on the index, fetch, verify."""
    newest = max(client.entries(name), key=lambda entry: entry.version)
    keys = client.vendor_keys(name.vendor)
    verify_release(
        client.fetch(newest),
        keys=keys.keys,
        threshold=keys.threshold,
        policy=Policy(),
        now=datetime.now(UTC),
        expected=newest,
    ).require()


def _search(client: RegistryClient) -> None:
    """What `patchpm search` does with a registry that may serve everyone."""
    found = [entry for vendor in client.vendors() for name in client.names(vendor) for entry in client.entries(name)]
    assert found


def _release(name: str, version: str, key: PrivateKey) -> ReleaseFiles:
    rows = np.random.default_rng(0).standard_normal((TOKENS, WIDTH), np.float32)
    prefix = write_prefix(PrefixMatrix("F32", TOKENS, WIDTH, rows.tobytes()))
    manifest = Manifest(
        kind="prefix",
        name=PatchName.parse(name),
        version=Version.parse(version),
        domain="toxicity",
        summary="Answers without insults, threats and slurs",
        licence="Apache-2.0",
        base=_BASE,
        prefix=Prefix(FileRef(len(prefix), Digest.of(prefix)), TOKENS, "F32", ("system-start",), ""),
        compose=Compose(),
        training=Training("none", Digest.of(b""), "none", 0, "benchmark", ()),
        claims=(),
        links=(),
    )
    return sign_release(write_manifest(manifest), prefix, [key])


def _like() -> ReleaseEntry:
    key = generate()
    verdict = verify_release(
        _release(f"{vendor_name(0)}/patch-0", "1.0.0", key),
        keys=frozenset([key.public]),
        threshold=1,
        policy=Policy(),
        now=datetime.now(UTC),
    )
    return entry_of(verdict.require(), datetime.now(UTC), "")


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def _serve(folder: str, pipe: Connection) -> None:
    def handler(*arguments: Any) -> _Handler:
        return _Handler(*arguments, directory=folder)

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    pipe.send(server.server_address[1])
    server.serve_forever()


class Served:
    """A folder behind a web server in a process of its own."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_serve, args=(str(folder), theirs), daemon=True)
        self._pipe = ours

    def __enter__(self) -> str:
        """Start it, and return its address."""
        self._process.start()
        return f"http://127.0.0.1:{self._pipe.recv()}"

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.join()


if __name__ == "__main__":
    main()
