"""A vendor who publishes to a registry server, and deployers who install from it, by commands alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from tuf.api.metadata import Targets

from patchpm.project.lock_toml import read_lock
from patchpm.registry.hub import HubHost
from patchpm.trust.private_keys import generate
from patchpm.trust.tuf_metadata import sign_document
from tests.registry.hub_server import HubServer, hub_server
from tests.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for variable in ("HF_TOKEN", "HF_ENDPOINT", "HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH", "PATCHPM_TOKENS"):
        monkeypatch.delenv(variable, raising=False)
    with hub_server(tmp_path / "server") as running:
        yield running


def sign_in(world: World, server: HubServer, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{token}\n"))
    world.ok("login", server.endpoint)


def packed(world: World, version: str = "1.0.0") -> Path:
    """A release in a folder, as `patchpm pack` leaves it."""
    folder = world.root / f"release-{version}"
    folder.mkdir()
    for name, data in world.release(version=version).items():
        (folder / name).write_bytes(data)
    return folder


def keys(world: World) -> list[str]:
    """Options that name every key of the world, from files."""
    found = []
    for name, key in (("operator", world.operator), ("vendor", world.vendor)):
        path = world.root / name
        path.write_bytes(key.to_openssh(None))
        found += ["--key", str(path)]
    return found


def moved(world: World, server: HubServer) -> str:
    """The world's registry, on the server."""
    url = server.registry()
    world.ok("registry", "copy", str(world.registry), url, "--root", str(world.pin))
    return url


def test_what_is_published_to_a_server_installs_on_another_machine_with_the_same_bytes(
    world: World, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(world, server, monkeypatch, server.ann)
    url = moved(world, server)
    folder = packed(world)
    assert "published acme/toxicity 1.0.0" in world.ok("publish", str(folder), "--registry", url, *keys(world)).out
    again = world.ok("publish", str(folder), "--registry", url, *keys(world)).out
    assert "was published already, with these very bytes" in again
    home, project = world.root / "other" / "home", world.root / "other" / "project"
    project.mkdir(parents=True)
    monkeypatch.setenv("PATCHPM_HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.chdir(project)
    world.ok("registry", "add", "corp", url, "--root", str(world.pin), "--namespace", "acme")
    world.ok("init", "--base", str(world.base), "--label", "tiny")
    world.ok("install", "acme/toxicity")
    (locked,) = read_lock((project / "patchpm.lock").read_text()).releases
    assert locked.commit == HfApi(endpoint=server.endpoint, token=False).model_info("acme/toxicity").sha
    kept = {path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert {path.read_bytes() for path in folder.iterdir()} <= kept


def test_a_dry_run_shows_every_file_and_the_changes_and_writes_nothing(
    world: World, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(world, server, monkeypatch, server.ann)
    url = moved(world, server)
    arguments = ("publish", str(packed(world)), "--registry", url, *keys(world))
    shown = world.ok(*arguments, "--dry-run", "--json").json
    files = {file["path"]: file for file in shown["files"]}
    assert {"metadata/1.acme.json", "metadata/timestamp.json", "acme/toxicity/README.md"} <= set(files)
    assert sum(path.startswith("patches/acme/toxicity/1.0.0/") for path in files) == 3
    assert any(line.startswith("+") and "acme.json" in line for line in files["metadata/3.snapshot.json"]["diff"])
    assert world.run(*arguments, "--dry-run").out.count("metadata/timestamp.json") >= 1
    assert world.ok(*arguments).out.startswith("published")
    assert "published already" in world.ok(*arguments, "--dry-run").out


def test_signing_in_and_out(world: World, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.run("whoami", server.endpoint, "--json").error["code"] == "signed-out"
    sign_in(world, server, monkeypatch, server.ann)
    found = world.ok("whoami", server.registry(), "--json").json
    assert (found["user"], found["organisations"]) == ("ann", ["acme"])
    assert "signed out" in world.ok("logout", server.endpoint).out
    assert world.run("whoami", server.endpoint, "--json").error["code"] == "signed-out"


def test_a_token_is_neither_sent_in_the_clear_nor_shown_where_it_is_none(
    world: World, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("ppm_secret\n"))
    assert world.run("login", "http://patches.example", "--json").error["code"] == "insecure-registry"
    monkeypatch.setattr(sys, "stdin", io.StringIO("ppm_se\x1bcret\n"))
    refused = world.run("login", server.endpoint, "--json")
    assert refused.error["code"] == "invalid-token"
    assert "cret" not in refused.err.replace("secret", "")


def test_a_server_that_is_no_registry_is_told_as_such(
    world: World, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("ppm_secret\n"))
    monkeypatch.setattr(HfApi, "whoami", lambda _: {})
    assert world.run("login", server.endpoint, "--json").error["code"] == "unreachable"


def test_a_wrong_token_is_not_kept(world: World, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("ppm_wrong\n"))
    assert world.run("login", server.endpoint, "--json").error["code"] == "not-allowed"
    assert world.run("whoami", server.endpoint, "--json").error["code"] == "signed-out"


def test_a_deprecated_version_is_installed_with_a_warning(world: World) -> None:
    world.publish()
    world.started()
    arguments = ("--registry", str(world.registry), *keys(world))
    world.ok("deprecate", "acme/toxicity@1.0.0", "--advice", "use 1.1", *arguments)
    assert "acme/toxicity 1.0.0 is deprecated: use 1.1" in world.ok("install", "acme/toxicity").err
    assert "deprecated: use 1.1" in world.ok("info", "acme/toxicity").out
    assert "nothing changed" in world.ok("deprecate", "acme/toxicity", "--advice", "use 1.1", *arguments).out
    world.ok("deprecate", "acme/toxicity", "--undo", *arguments)
    assert "deprecated" not in world.ok("install").err


def test_a_registry_can_be_named_by_its_alias(world: World) -> None:
    assert "published" in world.ok("publish", str(packed(world)), "--registry", "corp", *keys(world)).out


def test_installing_from_a_server_needs_no_library_of_the_hub(
    world: World, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(world, server, monkeypatch, server.ann)
    world.publish()
    url = moved(world, server)
    world.ok("init", "--base", str(world.base), "--label", "tiny")
    world.ok("trust", "remove", "registry", "corp")
    world.ok("registry", "add", "corp", url, "--root", str(world.pin), "--namespace", "acme")
    code = (
        "import sys; sys.modules['huggingface_hub'] = None; from patchpm.cli.app import run; "
        "sys.exit(run(['install', 'acme/toxicity']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Shared:
    """A registry that one company runs and another one's vendor has no right to write to."""

    def __init__(self, world: World, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.server, self.monkeypatch = world, server, monkeypatch
        server.site.accounts.add("user", "op")
        server.site.accounts.add("org", "corp")
        server.site.accounts.set_member("corp", "op", "write")
        self.operator_token = server.site.accounts.issue("op", "test", scope="write")[1]
        self.url = server.registry("corp/patchpm-registry")
        self.as_operator()
        world.ok("registry", "copy", str(world.registry), self.url, "--root", str(world.pin))
        paths = keys(world)
        self.operator_key, self.vendor_key = paths[:2], paths[2:]

    def as_operator(self) -> None:
        sign_in(self.world, self.server, self.monkeypatch, self.operator_token)

    def as_vendor(self) -> None:
        sign_in(self.world, self.server, self.monkeypatch, self.server.ann)

    def propose(self, *arguments: str) -> str:
        self.as_vendor()
        found = self.world.ok(*arguments, "--registry", self.url, *self.vendor_key, "--pull-request", "--json").json
        return str(found["proposal"])

    def accept(self, *numbers: str) -> tuple[int, list[dict[str, object]]]:
        self.as_operator()
        done = self.world.run("registry", "accept", *numbers, "--registry", self.url, *self.operator_key, "--json")
        return done.code, done.json

    def accept_code(self) -> int:
        self.as_operator()
        return self.world.run("registry", "accept", "--registry", self.url, *self.operator_key).code


def _taken(number: int) -> dict[str, object]:
    title = "publish acme/toxicity/1.0.0"
    return {"number": number, "vendor": "acme", "title": title, "author": "ann", "accepted": True, "error": None}


@pytest.fixture
def shared(world: World, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> Shared:
    return Shared(world, server, monkeypatch)


def test_a_vendor_without_the_right_to_write_publishes_by_pull_request(world: World, shared: Shared) -> None:
    folder = packed(world)
    shared.as_vendor()
    refusal = world.run("publish", str(folder), "--registry", shared.url, *keys(world), "--json")
    assert refusal.error["code"] == "not-allowed"
    address = shared.propose("publish", str(folder))
    assert address.endswith("/corp/patchpm-registry/discussions/1")
    code, taken = shared.accept()
    assert (code, [item["accepted"] for item in taken]) == (0, [True])
    world.ok("trust", "remove", "registry", "corp")
    world.ok("registry", "add", "corp", shared.url, "--root", str(world.pin), "--namespace", "acme")
    world.ok("init", "--base", str(world.base), "--label", "tiny")
    assert "acme/toxicity 1.0.0" in world.ok("install", "acme/toxicity").out
    assert shared.accept() == (0, [])


def test_yanking_goes_by_pull_request_as_well(world: World, shared: Shared) -> None:
    shared.propose("publish", str(packed(world)))
    assert shared.accept()[0] == 0
    shared.propose("yank", "acme/toxicity@1.0.0", "--reason", "over-refuses")
    assert shared.accept("2")[0] == 0
    world.ok("trust", "remove", "registry", "corp")
    world.ok("registry", "add", "corp", shared.url, "--root", str(world.pin), "--namespace", "acme")
    world.ok("init", "--base", str(world.base), "--label", "tiny")
    assert "yanked: over-refuses" in world.ok("info", "acme/toxicity").out


def test_of_two_proposals_for_the_same_state_the_second_must_be_made_again(world: World, shared: Shared) -> None:
    shared.propose("publish", str(packed(world, "1.0.0")))
    shared.propose("publish", str(packed(world, "1.1.0")))
    code, taken = shared.accept()
    assert (code, [item["error"] for item in taken]) == (6, [None, "stale-proposal"])
    shared.propose("publish", str(packed(world, "1.2.0")))
    assert shared.accept("3")[0] == 0


def test_a_pull_request_signed_by_someone_else_is_not_taken(world: World, shared: Shared) -> None:
    shared.propose("publish", str(packed(world)))
    role = _proposed(shared, 1)["metadata/1.acme.json"]
    stranger = sign_document(Targets.from_dict(json.loads(role)["signed"]), [generate()], "1.acme.json")
    _offer(shared, "acme 1: publish acme/toxicity/1.0.0", {"metadata/1.acme.json": stranger.data})
    code, taken = shared.accept("2")
    assert (code, taken[0]["error"]) == (6, "unknown-signer")


def test_a_vendor_cannot_change_what_the_index_says_of_a_published_release(world: World, shared: Shared) -> None:
    shared.propose("publish", str(packed(world)))
    assert shared.accept()[0] == 0
    listed = json.loads(_proposed(shared, 1)["metadata/1.acme.json"])["signed"]
    listed["version"] = 2
    (target,) = listed["targets"].values()
    target["custom"]["published"] = "2020-01-01T00:00:00Z"
    changed = sign_document(Targets.from_dict(listed), [world.vendor], "2.acme.json")
    _offer(shared, "acme 2: publish acme/toxicity/1.0.0", {"metadata/2.acme.json": changed.data})
    code, taken = shared.accept()
    assert (code, taken[0]["error"]) == (6, "changed-release")


def test_a_proposal_that_was_taken_by_a_run_that_died_is_closed_by_the_next(
    world: World, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.propose("publish", str(packed(world)))
    with monkeypatch.context() as patch:
        patch.setattr(HubHost, "close", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert shared.accept_code() == 130
    assert shared.accept() == (0, [_taken(1)])
    assert shared.accept() == (0, [])


def test_other_pull_requests_are_left_alone(world: World, shared: Shared) -> None:
    _offer(shared, "fix: a typo in the readme", {"README.md": b"# A registry\n"})
    _offer(shared, "nobody 1: publish nobody/x/1.0.0", {"metadata/1.nobody.json": b"{}"})
    assert shared.accept() == (0, [])


def test_a_pull_request_for_a_release_that_is_not_there_is_not_taken(world: World, shared: Shared) -> None:
    shared.propose("publish", str(packed(world)))
    role = _proposed(shared, 1)["metadata/1.acme.json"]
    api = HfApi(endpoint=shared.server.endpoint, token=shared.server.ann)
    api.update_repo_settings("acme/toxicity", visibility="private")
    _offer(shared, "acme 1: publish acme/toxicity/1.0.0", {"metadata/1.acme.json": role})
    code, taken = shared.accept("2")
    assert (code, taken[0]["error"]) == (6, "missing-file")


def _proposed(shared: Shared, number: int) -> dict[str, bytes]:
    api = HfApi(endpoint=shared.server.endpoint, token=False)
    files = api.list_repo_files("corp/patchpm-registry", revision=f"refs/pr/{number}")
    cache = str(shared.world.root / "cache")
    return {
        path: Path(
            api.hf_hub_download("corp/patchpm-registry", path, revision=f"refs/pr/{number}", cache_dir=cache)
        ).read_bytes()
        for path in files
    }


def _offer(shared: Shared, title: str, files: dict[str, bytes]) -> None:
    HfApi(endpoint=shared.server.endpoint, token=shared.server.bob).create_commit(
        "corp/patchpm-registry",
        [CommitOperationAdd(path, data) for path, data in files.items()],
        commit_message=title,
        create_pr=True,
    )
