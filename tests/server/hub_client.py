"""Drives a registry server with the stock `huggingface_hub` of whatever environment this runs in.

    python hub_client.py ENDPOINT TOKEN OTHER_TOKEN

It needs nothing but that library, so that it runs beside many of its versions. TOKEN may write to the organisation
`acme`, OTHER_TOKEN belongs to another user. Prints a line a step, and exits with 1 if one failed.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

NAME = f"acme/toxicity-{os.urandom(4).hex()}"
CARD = """---
license: apache-2.0
library_name: patchpm
base_model: acme/base
tags: [patchpm, safety-domain:toxicity]
---
# A patch
"""
PREFIX = bytes(range(256)) * 450
STEPS: list[Callable[[], None]] = []


def step(function: Callable[[], None]) -> Callable[[], None]:
    STEPS.append(function)
    return function


@contextmanager
def refused(kind: type[Exception], status: int | None = None) -> Iterator[None]:
    try:
        yield
    except kind as error:
        found = getattr(getattr(error, "response", None), "status_code", None)
        assert status in (None, found), f"status {found} instead of {status}"
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


class State:
    """What the steps hand on."""

    api: HfApi
    other: HfApi
    anyone: HfApi
    cache: Path
    heads: ClassVar[dict[str, str]] = {}


@step
def whoami_names_the_user_and_their_organisations() -> None:
    found = State.api.whoami()
    assert found["name"] == "ann", found
    assert [org["name"] for org in found["orgs"]] == ["acme"], found
    assert found["auth"]["accessToken"]["role"] == "write", found


@step
def a_wrong_token_is_refused() -> None:
    with refused(HfHubHTTPError, 401):
        HfApi(endpoint=State.api.endpoint, token="hf_wrong").whoami()


@step
def a_repository_is_made_once() -> None:
    url = State.api.create_repo(NAME)
    assert url.repo_id == NAME, url
    with refused(HfHubHTTPError, 409):
        State.api.create_repo(NAME)
    assert State.api.create_repo(NAME, exist_ok=True).repo_id == NAME


@step
def nobody_makes_one_in_a_foreign_namespace() -> None:
    with refused(HfHubHTTPError, 403):
        State.other.create_repo(f"{NAME}-stolen")
    with refused(HfHubHTTPError, 401):
        State.anyone.create_repo(f"{NAME}-stolen")


@step
def a_commit_holds_small_files_and_a_card() -> None:
    before = State.api.model_info(NAME).sha
    made = State.api.create_commit(
        NAME,
        [
            CommitOperationAdd("README.md", CARD.encode()),
            CommitOperationAdd("abc/prefix.safetensors", PREFIX),
            CommitOperationAdd("abc/manifest.json", b"{}\n"),
        ],
        commit_message="Release 1.0.0",
        commit_description="The first one",
        parent_commit=before,
    )
    assert len(made.oid) == 40, made
    State.heads |= {"before": str(before), "first": made.oid}


@step
def a_stale_parent_loses() -> None:
    with refused(HfHubHTTPError, 412):
        State.api.create_commit(
            NAME, [CommitOperationAdd("x", b"x")], commit_message="stale", parent_commit=State.heads["before"]
        )


@step
def info_lists_files_tags_and_card() -> None:
    info = State.anyone.model_info(NAME, files_metadata=True)
    assert info.sha == State.heads["first"], info
    assert not info.private, info
    assert {"patchpm", "safety-domain:toxicity", "base_model:acme/base", "license:apache-2.0"} <= set(
        info.tags or ()
    ), info
    assert info.card_data is not None, info
    assert info.card_data.license == "apache-2.0", info
    files = {file.rfilename: file for file in info.siblings or ()}
    assert sorted(files) == ["README.md", "abc/manifest.json", "abc/prefix.safetensors"], files
    assert files["abc/prefix.safetensors"].size == len(PREFIX), files


@step
def a_download_has_the_same_bytes() -> None:
    path = State.anyone.hf_hub_download(NAME, "abc/prefix.safetensors", cache_dir=State.cache)
    assert Path(path).read_bytes() == PREFIX
    again = State.anyone.hf_hub_download(
        NAME, "abc/prefix.safetensors", revision=State.heads["first"], cache_dir=State.cache
    )
    assert Path(again).read_bytes() == PREFIX


@step
def a_tag_names_a_commit_for_ever() -> None:
    State.api.create_tag(NAME, tag="v1.0.0", revision=State.heads["first"])
    with refused(HfHubHTTPError, 409):
        State.api.create_tag(NAME, tag="v1.0.0")
    State.api.create_tag(NAME, tag="v1.0.0", exist_ok=True)
    with refused(HfHubHTTPError, 403):
        State.api.delete_tag(NAME, tag="v1.0.0")
    refs = State.anyone.list_repo_refs(NAME)
    assert {tag.name: tag.target_commit for tag in refs.tags} == {"v1.0.0": State.heads["first"]}, refs


@step
def another_tag_can_go() -> None:
    State.api.create_tag(NAME, tag="latest")
    State.api.delete_tag(NAME, tag="latest")
    with refused(RevisionNotFoundError):
        State.api.delete_tag(NAME, tag="latest")


@step
def a_folder_can_be_uploaded() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(40):
            path = Path(folder, f"f{number % 4}", f"{number}.txt")
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(number))
        made = State.api.upload_folder(repo_id=NAME, folder_path=folder, path_in_repo="deep/er")
    assert made.oid != State.heads["first"]
    files = State.anyone.list_repo_files(NAME)
    assert sum(name.startswith("deep/er/f") for name in files) == 40, files


@step
def the_tree_is_listed_flat_and_deep() -> None:
    flat = {item.path: type(item).__name__ for item in State.anyone.list_repo_tree(NAME)}
    assert flat == {"README.md": "RepoFile", "abc": "RepoFolder", "deep": "RepoFolder"}, flat
    deep = [item.path for item in State.anyone.list_repo_tree(NAME, "deep", recursive=True)]
    assert len(deep) == 1 + 4 + 40, deep
    with refused(RemoteEntryNotFoundError):
        list(State.anyone.list_repo_tree(NAME, "nowhere"))


@step
def single_paths_are_described() -> None:
    found = State.anyone.get_paths_info(NAME, ["abc/prefix.safetensors", "deep", "nowhere"])
    assert [item.path for item in found] == ["abc/prefix.safetensors", "deep"], found
    oid = hashlib.sha1(b"blob %d\0" % len(PREFIX) + PREFIX).hexdigest()
    assert found[0].blob_id == oid, found  # type: ignore[union-attr]


@step
def a_snapshot_of_a_tag_stays_what_it_was() -> None:
    folder = State.anyone.snapshot_download(NAME, revision="v1.0.0", cache_dir=State.cache)
    found = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())
    assert found == ["README.md", "abc/manifest.json", "abc/prefix.safetensors"], found


@step
def files_and_folders_can_be_removed() -> None:
    State.api.create_commit(
        NAME,
        [CommitOperationDelete("deep/", is_folder=True), CommitOperationDelete("abc/manifest.json")],
        commit_message="Tidy",
    )
    assert State.anyone.list_repo_files(NAME) == ["README.md", "abc/prefix.safetensors"]
    with refused(RemoteEntryNotFoundError):
        State.anyone.hf_hub_download(NAME, "abc/manifest.json", cache_dir=State.cache)


@step
def a_large_file_goes_by_itself() -> None:
    data = os.urandom(1024) * (17 * 1024)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        # From an open file: clients from 1.20 on would send a path to a storage system of the public Hub's.
        with Path(file.name).open("rb") as opened:
            State.api.upload_file(path_or_fileobj=opened, path_in_repo="large.bin", repo_id=NAME)
    info = State.anyone.get_paths_info(NAME, ["large.bin"])[0]
    assert info.lfs is not None, info  # type: ignore[union-attr]
    assert info.lfs.sha256 == hashlib.sha256(data).hexdigest(), info  # type: ignore[union-attr]
    path = State.anyone.hf_hub_download(NAME, "large.bin", cache_dir=State.cache)
    assert Path(path).read_bytes() == data


@step
def commits_are_listed() -> None:
    found = State.anyone.list_repo_commits(NAME)
    titles = [commit.title for commit in found]
    assert titles[-2:] == ["Release 1.0.0", "initial commit"], titles
    assert found[-2].authors == ["ann"], found
    assert found[-2].message == "The first one", found


@step
def a_branch_goes_its_own_way() -> None:
    State.api.create_branch(NAME, branch="next/try", revision="v1.0.0")
    with refused(HfHubHTTPError, 409):
        State.api.create_branch(NAME, branch="next/try")
    State.api.create_commit(
        NAME,
        [CommitOperationAdd("only-here", b"1")],
        commit_message="Try",
        revision="next/try",
        parent_commit=State.heads["first"],
    )
    assert "only-here" in State.anyone.list_repo_files(NAME, revision="next/try")
    assert "only-here" not in State.anyone.list_repo_files(NAME)
    State.api.delete_branch(NAME, branch="next/try")
    with refused(RevisionNotFoundError):
        State.anyone.model_info(NAME, revision="next/try")


@step
def someone_else_offers_a_pull_request_and_it_is_merged() -> None:
    with refused(HfHubHTTPError, 403):
        State.other.create_commit(NAME, [CommitOperationAdd("gift", b"1")], commit_message="Gift")
    made = State.other.create_commit(NAME, [CommitOperationAdd("gift", b"1")], commit_message="Gift", create_pr=True)
    assert made.pr_num == 1, made
    assert made.pr_revision == "refs/pr/1", made
    assert "gift" in State.anyone.list_repo_files(NAME, revision="refs/pr/1")
    State.other.create_commit(
        NAME, [CommitOperationAdd("gift2", b"2")], commit_message="And one more", revision="refs/pr/1"
    )
    refs = State.anyone.list_repo_refs(NAME, include_pull_requests=True)
    assert [pull.ref for pull in refs.pull_requests or ()] == ["refs/pr/1"], refs
    found = list(State.anyone.get_repo_discussions(NAME))
    assert [(item.num, item.status, item.author, item.is_pull_request) for item in found] == [(1, "open", "bob", True)]
    State.api.comment_discussion(NAME, 1, comment="Thank you")
    State.api.merge_pull_request(NAME, 1)
    details = State.anyone.get_discussion_details(NAME, 1)
    assert details.status == "merged", details
    assert {"gift", "gift2"} <= set(State.anyone.list_repo_files(NAME))


@step
def a_pull_request_can_be_closed() -> None:
    made = State.other.create_pull_request(NAME, title="Nothing yet")
    State.other.change_discussion_status(NAME, made.num, "closed")
    assert State.anyone.get_discussion_details(NAME, made.num).status == "closed"


@step
def models_are_found_by_tag_and_owner_and_words() -> None:
    for wanted in (
        {"filter": ["patchpm", "safety-domain:toxicity"]},
        {"author": "acme"},
        {"search": "toxicity"},
        {"filter": "base_model:acme/base", "sort": "created_at", "limit": 100},
    ):
        found = [model.id for model in State.anyone.list_models(**wanted)]
        assert NAME in found, (wanted, found)
    assert not list(State.anyone.list_models(filter=["patchpm", "no-such-tag"]))


@step
def a_private_repository_is_seen_by_its_owners_only() -> None:
    name = f"{NAME}-private"
    State.api.create_repo(name, private=True)
    State.api.upload_file(path_or_fileobj=b"secret", path_in_repo="secret", repo_id=name)
    assert State.api.model_info(name).private
    for stranger in (State.other, State.anyone):
        with refused(RepositoryNotFoundError):
            stranger.model_info(name)
        with refused(RepositoryNotFoundError):
            stranger.hf_hub_download(name, "secret", cache_dir=State.cache)
        assert name not in [model.id for model in stranger.list_models(author="acme")]
    State.api.update_repo_settings(name, **visibility(private=False))
    assert State.anyone.model_info(name).private is False
    State.api.delete_repo(name)
    assert not State.api.repo_exists(name)


@step
def a_repository_with_releases_stays() -> None:
    with refused(HfHubHTTPError, 403):
        State.api.delete_repo(NAME)


@step
def what_is_not_there_is_said_so() -> None:
    with refused(RepositoryNotFoundError):
        State.anyone.model_info("acme/nowhere")
    with refused(RevisionNotFoundError):
        State.anyone.model_info(NAME, revision="nowhere")
    assert not State.anyone.revision_exists(NAME, "v9.9.9")
    assert State.anyone.file_exists(NAME, "README.md")
    assert not State.anyone.file_exists(NAME, "nowhere")


@step
def a_dataset_is_kept_apart_from_a_model_of_its_name() -> None:
    State.api.create_repo(NAME, repo_type="dataset")
    State.api.upload_file(path_or_fileobj=b"rows", path_in_repo="rows.csv", repo_id=NAME, repo_type="dataset")
    assert State.anyone.list_repo_files(NAME, repo_type="dataset") == ["rows.csv"]
    State.api.delete_repo(NAME, repo_type="dataset")


@step
def a_card_that_is_no_yaml_is_refused() -> None:
    with refused(ValueError):
        State.api.upload_file(
            path_or_fileobj=b"---\nlicense: [\n---\n", path_in_repo="README.md", repo_id=NAME, commit_message="Bad"
        )


def visibility(*, private: bool) -> dict[str, Any]:
    import inspect

    if "visibility" in inspect.signature(HfApi.update_repo_settings).parameters:
        return {"visibility": "private" if private else "public"}
    return {"private": private}


def main() -> int:
    endpoint, token, other = sys.argv[1:]
    State.api, State.other = HfApi(endpoint=endpoint, token=token), HfApi(endpoint=endpoint, token=other)
    State.anyone = HfApi(endpoint=endpoint, token=False)
    failed = 0
    with tempfile.TemporaryDirectory() as cache:
        State.cache = Path(cache)
        for run in STEPS:
            try:
                run()
            except Exception:
                failed += 1
                print(f"FAILED {run.__name__}")
                traceback.print_exc(file=sys.stdout)
            else:
                print(f"ok     {run.__name__}")
    print(f"huggingface_hub {huggingface_hub.__version__}: {len(STEPS) - failed} of {len(STEPS)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
