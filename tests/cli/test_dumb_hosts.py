"""A registry on hosts that know nothing of patches: a bucket, a mirror of it behind a web server, and users of both."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.loopback import in_a_thread
from tests.registry.s3 import new_bucket, s3_server
from tests.world import World

pytestmark = pytest.mark.slow


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield f"s3://{new_bucket(environment)}/patches"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address of a plain web server that hands it out."""
    folder = tmp_path / "mirror"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    with in_a_thread(server):
        yield folder, f"http://127.0.0.1:{server.server_port}"


def on_another_machine(world: World, monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> set[bytes]:
    """Install from `url` under a home of its own; all that is kept there then."""
    home, project = world.root / name / "home", world.root / name / "project"
    project.mkdir(parents=True)
    monkeypatch.setenv("PATCHPM_HOME", str(home))
    monkeypatch.chdir(project)
    world.ok("registry", "add", "corp", url, "--root", str(world.pin), "--namespace", "acme")
    world.ok("init", "--base", str(world.base), "--label", "tiny")
    world.ok("install", "acme/toxicity")
    world.ok("status")
    return {path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_what_is_published_to_a_bucket_installs_from_it_and_from_a_mirror_of_it_with_the_same_bytes(
    world: World, bucket: str, mirror: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = world.publish()
    folder, url = mirror
    moved = world.ok("registry", "copy", str(world.registry), bucket, "--root", str(world.pin), "--json").json
    assert moved["releases"] == 1
    assert "copied 1 new release, " in world.ok("registry", "copy", bucket, str(folder)).out
    assert "nothing was new" in world.ok("registry", "copy", bucket, str(folder)).out
    release = {files.manifest, files.prefix, files.attestations}
    assert release <= on_another_machine(world, monkeypatch, "one", bucket)
    assert release <= on_another_machine(world, monkeypatch, "two", url)


def test_a_registry_is_made_and_changed_in_a_bucket_by_commands(world: World, bucket: str) -> None:
    world.ok("key", "generate", "root", "--no-passphrase")
    made = world.ok("registry", "init", "--registry", bucket, "--root-key", "root", "--json").json
    public = world.ok("key", "show", "root").out.strip()
    world.ok("registry", "add-vendor", "labx", "--public", public, "--registry", bucket, "--key", "root")
    world.ok("registry", "refresh", "--registry", bucket, "--key", "root")
    world.ok("registry", "add", "labx", bucket, "--root", made["root"], "--namespace", "labx")
    found = {row["title"]: row["status"] for row in world.run("status", "--json").json}
    assert found["registry labx"] == "pass"


def test_a_web_server_is_not_written_to(world: World, mirror: tuple[Path, str]) -> None:
    folder, url = mirror
    world.ok("registry", "copy", str(world.registry), str(folder))
    refused = world.run("registry", "copy", str(world.registry), url, "--json")
    assert (refused.code, refused.error["code"]) == (1, "read-only")


def test_offline_a_registry_behind_a_web_server_is_not_asked(
    world: World, mirror: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish()
    folder, url = mirror
    world.ok("registry", "copy", str(world.registry), str(folder))
    on_another_machine(world, monkeypatch, "one", url)
    (world.root / "mirror").rename(world.root / "gone")
    world.ok("install", "--frozen", "--offline")
    assert world.run("install", "acme/other", "--offline", "--json").error["code"] == "unknown-patch"
