"""Who may do what, and what is left of a token."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from patchpm.errors import CannotError, UsageError
from patchpm.server.accounts import ORG, USER
from tests.server.builders import Client, Server, file, large_file, options_in, serving
from tests.simulator import refused


@pytest.mark.parametrize(
    ("role", "reads", "writes", "manages"),
    [
        (None, False, False, False),
        ("read", True, False, False),
        ("write", True, True, False),
        ("admin", True, True, True),
    ],
)
def test_a_role_allows_what_it_says_and_no_more(
    server: Server, ann: Client, bob: Client, role: str | None, reads: bool, writes: bool, manages: bool
) -> None:
    repo = server.repo(ann, file="secret")
    ann.call("PUT", f"/api/models/{repo}/settings", {"visibility": "private"})
    server.site.accounts.set_member("acme", "bob", role)
    try:
        read = bob.get(f"/{repo}/resolve/main/file")
        assert (read.status == 200) is reads
        assert reads or read.headers["x-error-code"] == "RepoNotFound"
        assert (bob.commit(repo, file("more", b"1")).status == 200) is writes
        assert (bob.call("PUT", f"/api/models/{repo}/settings", {}).status == 200) is manages
        assert (
            bob.call("DELETE", "/api/repos/delete", {"organization": "acme", "name": repo}).status == 200
        ) is manages
    finally:
        server.site.accounts.set_member("acme", "bob", None)


def test_a_token_to_read_changes_nothing(server: Server, repo: str) -> None:
    reader = server.client("ann", scope="read")
    assert reader.get("/api/whoami-v2").json()["auth"]["accessToken"]["role"] == "read"
    for answer in (
        reader.commit(repo, file("x", b"1")),
        reader.tag(repo, "v1.0.0"),
        reader.create("acme/other"),
        reader.call("PUT", f"/api/models/{repo}/settings", {"visibility": "private"}),
        reader.post(f"/api/models/{repo}/branch/next", {}),
        reader.post(f"/api/models/{repo}/discussions", {"title": "x", "pullRequest": True}),
        reader.post(f"/{repo}.git/info/lfs/objects/batch", {"operation": "upload", "objects": []}),
    ):
        assert answer.status == 403, answer
        assert answer.error


def test_a_token_for_one_namespace_is_anyone_in_all_others(server: Server, ann: Client, repo: str) -> None:
    narrow = server.client("ann", namespace="acme")
    assert narrow.commit(repo, file("x", b"1")).status == 200
    assert narrow.create("ann/own").status == 403
    ann.create("ann/hidden", private=True)
    assert narrow.get("/api/models/ann/hidden").status == 404
    elsewhere = server.client("ann", namespace="ann")
    assert elsewhere.commit(repo, file("y", b"1")).status == 403
    assert elsewhere.post(f"/api/models/{repo}/discussions", {"title": "x", "pullRequest": True}).status == 403
    assert [org["name"] for org in elsewhere.get("/api/whoami-v2").json()["orgs"]] == []


def test_a_narrowed_token_of_an_admin_sees_what_is_private_there_only(server: Server, ann: Client) -> None:
    repo = server.repo(ann, file="x")
    ann.call("PUT", f"/api/models/{repo}/settings", {"visibility": "private"})
    inside = server.client("root", namespace="acme")
    outside = server.client("root", namespace="bob")
    assert repo in [found["id"] for found in inside.get("/api/models?author=acme").json()]
    assert repo not in [found["id"] for found in outside.get("/api/models?author=acme").json()]
    assert repo in [found["id"] for found in server.client("root").get("/api/models?author=acme").json()]


def test_tokens_end_when_they_expire_or_are_revoked_or_their_user_is_turned_away(server: Server) -> None:
    accounts = server.site.accounts
    accounts.add(USER, "eve")
    expired = server.client("eve", expires=datetime.now(UTC) - timedelta(seconds=1))
    later = server.client("eve", expires=datetime.now(UTC) + timedelta(days=1))
    key, secret = accounts.issue("eve", "test", scope="read")
    assert expired.get("/api/whoami-v2").status == 401
    assert later.get("/api/whoami-v2").status == 200
    accounts.revoke(key)
    assert Client(server.url, secret).get("/api/whoami-v2").status == 401
    accounts.set_disabled("eve", True)
    assert later.get("/api/whoami-v2").status == 401
    accounts.set_disabled("eve", False)
    assert later.get("/api/whoami-v2").status == 200


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Basic YW5uOmFubg==", "ppm_x", "Bearer ppm_\xff", "Bearer a b", "bearer \t"]
)
def test_credentials_that_are_none_are_refused_also_where_none_are_needed(
    server: Server, old_repo: str, header: str
) -> None:
    answer = server.anyone.get(f"/api/models/{old_repo}", Authorization=header)
    assert answer.status == 401
    assert answer.error == "Invalid credentials in Authorization header"


def test_a_stolen_token_of_another_vendor_reaches_nothing_here(server: Server, bob: Client, repo: str) -> None:
    head = bob.head(repo)
    assert bob.commit(repo, file("x", b"1")).status == 403
    assert bob.tag(repo, "v6.6.6").status == 403
    assert bob.call("DELETE", f"/api/models/{repo}/tag/v1").status == 403
    assert bob.post(f"/api/models/{repo}/branch/evil", {}).status == 403
    assert bob.call("DELETE", "/api/repos/delete", {"organization": "acme", "name": repo}).status == 403
    opened = bob.post(f"/api/models/{repo}/discussions", {"title": "Hi", "pullRequest": True}).json()["num"]
    assert bob.post(f"/api/models/{repo}/discussions/{opened}/merge", {}).status == 403
    assert bob.commit(repo, file("x", b"1"), at="refs%2Fpr%2F1").status == 200
    assert bob.head(repo) == head


def test_the_digest_of_a_secret_file_does_not_give_the_file(server: Server, ann: Client, bob: Client) -> None:
    hidden = server.repo(ann)
    ann.call("PUT", f"/api/models/{hidden}/settings", {"visibility": "private"})
    sha256 = ann.upload(hidden, b"secret weights")
    assert ann.commit(hidden, large_file("w.bin", sha256)).status == 200
    bob.create("bob/thief")
    assert bob.commit("bob/thief", large_file("w.bin", sha256)).status == 400
    wanted = {"operation": "upload", "objects": [{"oid": sha256, "size": 14}]}
    (asked,) = bob.post("/bob/thief.git/info/lfs/objects/batch", wanted).json()["objects"]
    assert "actions" in asked  # it must come again, as if nobody had it
    assert bob.upload("bob/thief", b"secret weights") == sha256
    assert bob.commit("bob/thief", large_file("w.bin", sha256)).status == 200
    copy = server.repo(ann)
    assert ann.commit(copy, large_file("copy.bin", sha256)).status == 200


@pytest.mark.parametrize("name", ["Ann", "ACME", "bOB"])
def test_names_that_differ_in_case_only_are_one_account(server: Server, name: str) -> None:
    with pytest.raises(CannotError, match="already"):
        server.site.accounts.add(ORG, name)


def test_repositories_that_differ_in_case_only_are_one(server: Server, ann: Client, repo: str) -> None:
    assert ann.create(repo.replace("/r-", "/R-")).status == 409


@pytest.mark.parametrize("name", ["api", "Datasets", "uploads", "a/b", "..", "", "a..b", "-a", "é", "a" * 40, "a\n"])
def test_names_that_would_hide_something_are_no_accounts(server: Server, name: str) -> None:
    with pytest.raises(UsageError):
        server.site.accounts.add(USER, name)


def test_accounts_that_are_not_there_are_told(server: Server) -> None:
    accounts = server.site.accounts
    with refused("unknown-account"):
        accounts.issue("nobody", "x", scope="read")
    with refused("unknown-account"):
        accounts.issue("ann", "x", scope="read", namespace="nobody")
    with refused("unknown-account"):
        accounts.set_member("ann", "bob", "read")
    with refused("unknown-token"):
        accounts.revoke("00000000")
    with refused("invalid-label"):
        accounts.issue("ann", "\udcff", scope="read")


def test_a_closed_server_answers_probes_and_nobody_else(tmp_path: Path) -> None:
    with serving(options_in(tmp_path / "closed", closed=True)) as server:
        ann, anyone = server.client("ann"), server.anyone
        repo = server.repo(ann, file="x")
        for path in ("/health", "/ready", "/", "/api/agent-harnesses"):
            assert anyone.get(path).status == 200
        for path in ("/api/models", f"/api/models/{repo}", f"/{repo}/resolve/main/file", "/metrics"):
            answer = anyone.get(path)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert server.client("bob").get(path).status == 200
        assert "private" in ann.get(f"/{repo}/resolve/{ann.head(repo)}/file").headers["cache-control"]


def test_no_secret_is_in_the_database_or_in_the_log(tmp_path: Path) -> None:
    with serving(options_in(tmp_path / "server")) as server:
        ann = server.client("ann")
        repo = server.repo(ann, file="x")
        ann.upload(repo, b"large")
        ann.get(f"/api/models/{repo}?token={ann.token}")
        kept = b"".join(path.read_bytes() for path in (tmp_path / "server").glob("registry.db*"))
        said = json.dumps([record.__dict__ for record in server.records], default=str)
    assert ann.token is not None
    assert len(kept) > 10_000
    assert logging.getLevelName(logging.INFO) in said
    for secret in (ann.token, "sign="):
        assert secret not in said
        assert secret.encode() not in kept
