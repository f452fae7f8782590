"""Registries on a server that speaks the protocol of the Hugging Face Hub, through the Hub's own client."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi
from sqlalchemy import select, text, update

from patchpm.errors import CannotError, UsageError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.prefix import write_prefix
from patchpm.registry.folder import HEAD
from patchpm.registry.hub import HubHost, open_hub
from patchpm.registry.hub_address import read_hub_address
from patchpm.registry.hub_token import keep_token, token_for
from patchpm.registry.hub_writer import HubWriter
from patchpm.server.site import Limits
from patchpm.server.tables import refs, repos
from tests.builders import base, manifest, matrix
from tests.registry.hub_server import HubServer, hub_server
from tests.server.builders import options_in
from tests.simulator import refused

FIRST = [("metadata/1.root.json", b"root"), (HEAD, b"one")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with hub_server(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(autouse=True)
def as_ann(server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("PATCHPM_TOKENS", f"{server.endpoint}={server.ann}")
    for variable in ("HF_TOKEN", "HF_ENDPOINT", "HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def host(server: HubServer, request: pytest.FixtureRequest) -> HubHost:
    return open_hub(server.registry(f"acme/registry-{abs(hash(request.node.name)) % 10**8}"))


def release(version: str = "1.0.0", model: str = "tiny", name: str = "acme/toxicity") -> list[tuple[str, bytes]]:
    rows = matrix(seed=len(version + model))
    made = manifest(name, version, prefix=rows, base=base(model))
    folder = f"patches/{name}/{version}/{base(model).short}"
    return [
        (f"{folder}/manifest.json", write_manifest(made)),
        (f"{folder}/prefix.safetensors", write_prefix(rows)),
        (f"{folder}/attestations.jsonl", b"{}\n"),
    ]


def test_what_was_committed_is_read_back(host: HubHost) -> None:
    assert host.head() == ""
    host.commit(FIRST, "")
    assert host.read("metadata/1.root.json", 10) == b"root"
    assert host.read("metadata/2.root.json", 10) is None
    with refused("too-large"):
        host.read("metadata/1.root.json", 3)


def test_a_commit_on_an_old_state_is_refused_and_changes_nothing(host: HubHost) -> None:
    host.commit(FIRST, "")
    first = host.head()
    host.commit([(HEAD, b"two")], first)
    with refused("publish-conflict"):
        host.commit([("metadata/x.json", b"lost"), (HEAD, b"three")], first)
    assert host.read(HEAD, 10) == b"two"
    assert host.read("metadata/x.json", 10) is None


def test_of_sixteen_writers_at_once_one_wins(server: HubServer, host: HubHost) -> None:
    host.commit(FIRST, "")
    first, won = host.head(), []

    def write(number: int) -> None:
        with suppress(CannotError):
            open_hub(host.where).commit([(HEAD, b"%d" % number)], first)
            won.append(b"%d" % number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [host.read(HEAD, 10)] == won


def test_a_release_is_a_model_of_its_vendor_at_tags_of_its_own(server: HubServer, host: HubHost) -> None:
    host.commit([*FIRST, *release()], "")
    for path, data in release():
        assert host.read(path, len(data)) == data
    api, short = HfApi(endpoint=server.endpoint, token=False), base("tiny").short
    tags = {tag.name: tag.target_commit for tag in api.list_repo_refs("acme/toxicity").tags}
    assert set(tags) == {"v1.0.0", f"v1.0.0+{short}"}
    assert len(set(tags.values())) == 1


def test_another_base_of_the_same_version_gets_a_tag_and_the_first_stays(server: HubServer, host: HubHost) -> None:
    name = "acme/bias"
    host.commit([*FIRST, *release(name=name)], "")
    host.commit([(HEAD, b"two"), *release(name=name, model="other")], host.head())
    for path, data in [*release(name=name), *release(name=name, model="other")]:
        assert host.read(path, len(data)) == data
    info = HfApi(endpoint=server.endpoint, token=False).model_info(name)
    assert info.tags is not None
    assert {"patchpm", "safety-domain:toxicity", "patch-version:1.0.0"} <= set(info.tags)


def test_a_patch_looks_at_home_on_the_hub_and_is_found_by_its_tags(
    server: HubServer, host: HubHost, tmp_path: Path
) -> None:
    name = "acme/at-home"
    links = (("base", "https://huggingface.co/lab/tiny-instruct"),)
    made = manifest(name, "1.0.0", prefix=matrix(), base=base("tiny-instruct"), links=links)
    folder = f"patches/{name}/1.0.0/{made.base.short}"
    files = {"manifest.json": write_manifest(made), "prefix.safetensors": b"p", "attestations.jsonl": b"a"}
    host.commit([*FIRST, *((f"{folder}/{file}", data) for file, data in files.items())], "")
    api = HfApi(endpoint=server.endpoint, token=False)
    found = list(api.list_models(filter=["patchpm", "base_model:adapter:lab/tiny-instruct"]))
    assert [model.id for model in found] == [name]
    card = api.model_info(name).card_data
    assert card is not None
    assert (card.license, card.library_name, card.base_model) == ("apache-2.0", "patchpm", ["lab/tiny-instruct"])
    assert [result.metric_type for result in card.eval_results or ()] == [claim.metric for claim in made.claims]
    page = huggingface_hub.ModelCard.load(api.hf_hub_download(name, "README.md", cache_dir=str(tmp_path))).text
    assert "patchpm install acme/at-home@1.0.0" in page


def test_the_card_of_a_newer_version_stays_when_an_older_one_is_published(server: HubServer, host: HubHost) -> None:
    name = "acme/two-lines"
    host.commit([*FIRST, *release("2.0.0", name=name)], "")
    host.commit([(HEAD, b"two"), *release("1.0.1", name=name)], host.head())
    info = HfApi(endpoint=server.endpoint, token=False).model_info(name)
    assert "patch-version:2.0.0" in (info.tags or ())


def test_a_publisher_that_was_killed_before_the_metadata_finishes_on_its_next_try(host: HubHost) -> None:
    files = release(name="acme/resumed")
    host.commit(FIRST, "")
    host.commit(files, host.head())  # what it had done
    host.commit([(HEAD, b"two"), *files], host.head())
    assert host.read(HEAD, 10) == b"two"


def test_a_publisher_that_was_killed_between_its_tags_finishes_both(server: HubServer, host: HubHost) -> None:
    files = release(name="acme/half-tagged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HfApi, "create_tag", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            host.commit([*FIRST, *files], "")
    host.commit([*FIRST, *files], "")
    tags = {tag.name for tag in HfApi(endpoint=server.endpoint, token=False).list_repo_refs("acme/half-tagged").tags}
    assert tags == {"v1.0.0", f"v1.0.0+{base('tiny').short}"}


def test_a_tag_without_the_release_is_told_as_taken(server: HubServer, host: HubHost) -> None:
    api = HfApi(endpoint=server.endpoint, token=server.ann)
    api.create_repo("acme/squatted")
    api.create_tag("acme/squatted", tag=f"v1.0.0+{base('tiny').short}")
    with refused("already-published"):
        host.commit([*FIRST, *release(name="acme/squatted")], "")


def test_a_card_that_someone_wrote_by_hand_does_not_stop_publishing(server: HubServer, host: HubHost) -> None:
    api = HfApi(endpoint=server.endpoint, token=server.ann)
    api.create_repo("acme/by-hand")
    card = b"---\nbase_model: 7\ntags: [patch-version:latest]\n---\n"
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="acme/by-hand")
    host.commit([*FIRST, *release(name="acme/by-hand")], "")
    assert "patch-version:1.0.0" in (api.model_info("acme/by-hand").tags or ())


def test_a_server_that_does_not_say_its_commit_is_asked_for_it(host: HubHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.commit(FIRST, "")
    stale = host.head()
    host.commit([(HEAD, b"two")], stale)
    asked = HubHost._state
    monkeypatch.setattr(HubHost, "_state", lambda self: replace(asked(self), commit=None, revision=stale))
    monkeypatch.setattr(HubWriter, "head", lambda *_: "0" * 40)
    with refused("publish-conflict"):
        host.commit([(HEAD, b"three")], stale)


def test_other_bytes_under_a_published_tag_are_refused(host: HubHost) -> None:
    files = release(name="acme/taken")
    host.commit([*FIRST, *files], "")
    changed = [(path, data + b"\n" if path.endswith("jsonl") else data) for path, data in files]
    with refused("already-published"):
        host.commit([(HEAD, b"two"), *changed], host.head())
    assert host.read(HEAD, 10) == b"one"


def test_a_tag_that_moves_changes_nothing_for_whoever_has_the_commit(server: HubServer, host: HubHost) -> None:
    files = release(name="acme/moved")
    host.commit([*FIRST, *files], "")
    path, data = files[0]
    folder = path.rpartition("/")[0].removeprefix("patches/")
    commit = host.pin(folder, FileRef(len(data), Digest.of(data)))
    assert commit is not None
    api = HfApi(endpoint=server.endpoint, token=server.ann)
    api.upload_file(path_or_fileobj=b"evil", path_in_repo=path.split("/", 4)[4], repo_id="acme/moved")
    _move_tag(server, "acme/moved", api.model_info("acme/moved").sha or "")
    assert host.read(path, 10_000) == b"evil"
    assert open_hub(host.where).at(commit).read(path, 10_000) == data
    assert host.pin(folder, FileRef(len(data), Digest.of(data))) is None
    assert host.at("0" * 40).read(path, 10_000) == b"evil"


def _move_tag(server: HubServer, name: str, commit: str) -> None:
    """As the public Hub lets an owner do, and our own server lets nobody."""
    with server.site.engine.begin() as db:
        triggers = db.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
        for trigger, _ in triggers:
            db.execute(text(f"DROP TRIGGER {trigger}"))
        repo = select(repos.c.id).where(repos.c.name == name.partition("/")[2]).scalar_subquery()
        db.execute(update(refs).where(refs.c.repo == repo, refs.c.kind == "tag").values(sha=commit))
        for _, sql in triggers:
            db.execute(text(sql))


def test_a_patch_is_as_private_as_its_registry(server: HubServer) -> None:
    api = HfApi(endpoint=server.endpoint, token=server.ann)
    api.create_repo("acme/private-registry", private=True)
    host = open_hub(server.registry("acme/private-registry"))
    host.commit([*FIRST, *release(name="acme/secret-patch")], "")
    assert api.model_info("acme/secret-patch").private


def test_a_stranger_is_told_to_sign_in(server: HubServer, host: HubHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.commit(FIRST, "")
    monkeypatch.setenv("PATCHPM_TOKENS", f"{server.endpoint}={server.bob}")
    with refused("not-allowed"):
        open_hub(host.where).commit([(HEAD, b"two")], host.head())


def test_a_registry_that_is_hidden_is_told_apart_from_a_broken_one(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    HfApi(endpoint=server.endpoint, token=server.ann).create_repo("acme/hidden-registry", private=True)
    host = open_hub(server.registry("acme/hidden-registry"))
    host.commit(FIRST, "")
    monkeypatch.delenv("PATCHPM_TOKENS")
    with refused("unreachable", "patchpm login"):
        open_hub(host.where).read(HEAD, 10)


def test_a_token_goes_to_its_own_server_only(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_public")
    assert token_for(server.endpoint) == server.ann
    assert token_for("https://huggingface.co") == "hf_public"
    assert token_for("https://elsewhere.example") is None
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    assert token_for("https://mirror.example") == "hf_public"
    assert token_for("https://huggingface.co") is None


def test_a_token_is_not_sent_over_a_network_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPM_TOKENS", "http://patches.example=secret")
    with refused("insecure-registry"):
        token_for("http://patches.example")


def test_a_kept_token_is_among_the_hubs_own_and_readable_to_its_owner_only(tmp_path: Path) -> None:
    keep_token("https://patches.example", "first")
    keep_token("https://other.example:8443/hub", "second")
    path = tmp_path / "hf" / "stored_tokens"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token_for("https://patches.example") == "first"
    assert token_for("https://other.example:8443/hub") == "second"
    assert keep_token("https://patches.example", None)
    assert not keep_token("https://patches.example", None)
    assert token_for("https://patches.example") is None


@pytest.mark.parametrize(
    "url",
    ["hf://", "hf://one", "hf://a/b/c", "hf+https://host", "hf+https://host/only", "hf://a/../b", "hf+ftp://h/a/b",
     "hf://a/b?x=1", "hf+https://user:secret@host/a/b", "hf://-a/b", "hf://a/b%2Fc"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        read_hub_address(url)


def test_addresses_name_a_server_and_a_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    for url, endpoint in {
        "hf://lab/patchpm-registry": "https://huggingface.co",
        "hf+https://patches.example:8443/hub/lab/patchpm-registry": "https://patches.example:8443/hub",
        "hf+http://localhost:8080/lab/patchpm-registry/": "http://localhost:8080",
    }.items():
        found = read_hub_address(url)
        assert (found.endpoint, found.repo) == (endpoint, "lab/patchpm-registry")
        assert read_hub_address(str(found)) == found


def test_a_server_of_ones_own_is_never_asked_for_the_public_hubs_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client would ask for it as soon as a file is to come by itself, and fail where it is not."""
    with hub_server(tmp_path / "hub", options_in(tmp_path / "hub", limits=Limits(inline=64))) as small:
        monkeypatch.setenv("PATCHPM_TOKENS", f"{small.endpoint}={small.ann}")
        host = open_hub(small.registry())
        host.commit([*FIRST, *release()], "")
        for path, data in release():
            assert host.read(path, len(data)) == data
        (described,) = HfApi(endpoint=small.endpoint, token=False).get_paths_info(
            "acme/toxicity", [f"{base('tiny').short}/prefix.safetensors"]
        )
        assert described.lfs is not None  # type: ignore[union-attr]
