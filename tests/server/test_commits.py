"""What a commit may hold: everything else is refused with a reason, and changes nothing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.server.builders import Client, Server, deleted, file, large_file, lines

HEADER = {"key": "header", "value": {"summary": "Change", "description": ""}}
DEEP = b"[" * 100_000
BAD_BODIES = {
    "empty": b"",
    "only line ends": b"\n\n\r\n",
    "no json": b"nonsense",
    "half a line": json.dumps(HEADER).encode()[:-3],
    "no header": lines([file("x", b"1")]),
    "two headers": lines([HEADER, HEADER]),
    "a list": b"[]",
    "null": b"null",
    "a number of many digits": b'{"key": "header", "value": ' + b"1" * 5000 + b"}",
    "deep": DEEP,
    "not UTF-8": b'{"key": "header", "value": {"summary": "\xff", "description": ""}}',
    "UTF-16": json.dumps(HEADER).encode("utf-16"),
    "no value": b'{"key": "header"}',
    "a value that is no object": b'{"key": "header", "value": []}',
    "no summary": lines([{"key": "header", "value": {}}]),
    "a summary that is no text": lines([{"key": "header", "value": {"summary": 1, "description": ""}}]),
    "a NUL in the summary": lines([{"key": "header", "value": {"summary": "a\0b"}}]),
    "a lone surrogate in the summary": b'{"key": "header", "value": {"summary": "\\ud800"}}',
    "a NUL in the description": lines([{"key": "header", "value": {"summary": "a", "description": "\0"}}]),
    "a parent that is no commit": lines([{"key": "header", "value": {"summary": "a", "parentCommit": "main"}}]),
    "a parent that is a number": lines([{"key": "header", "value": {"summary": "a", "parentCommit": 1}}]),
    "an unknown key": lines([HEADER, {"key": "symlink", "value": {"path": "x"}}]),
    "a key that is no text": lines([HEADER, {"key": 1, "value": {"path": "x"}}]),
    "no path": lines([HEADER, {"key": "file", "value": {"content": ""}}]),
    "no content": lines([HEADER, {"key": "file", "value": {"path": "x"}}]),
    "content that is no base64": lines([HEADER, {"key": "file", "value": {"path": "x", "content": "%%"}}]),
    "content with a line end": lines([HEADER, {"key": "file", "value": {"path": "x", "content": "YQ==\n"}}]),
    "content that is not ASCII": lines([HEADER, {"key": "file", "value": {"path": "x", "content": "é"}}]),
    "another encoding": lines([HEADER, {"key": "file", "value": {"path": "x", "content": "a", "encoding": "utf-8"}}]),
    "a digest that is none": lines([HEADER, {"key": "lfsFile", "value": {"path": "x", "oid": "../../etc/passwd"}}]),
    "a digest in capitals": lines([HEADER, {"key": "lfsFile", "value": {"path": "x", "oid": "A" * 64}}]),
    "a file that was not uploaded": lines([HEADER, large_file("x", "0" * 64)]),
}
BAD_PATHS = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../x",
    "a/../b",
    "a/./b",
    "./a",
    "a//b",
    "a/",
    "a\\b",
    "..\\x",
    ".git",
    ".git/config",
    "a/.git/hooks/x",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "\u202eexe.txt",
    "\ud800",
    "a\u2028b",
    "x" * 1025,
    "é" * 600,
    "\U0001f600" * 300,
]


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_is_no_commit_is_refused(ann: Client, old_repo: str, name: str) -> None:
    head = ann.head(old_repo)
    answer = ann.post(f"/api/models/{old_repo}/commit/main", BAD_BODIES[name])
    assert answer.status == 400
    assert answer.error
    assert ann.head(old_repo) == head


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_a_path_that_leads_out_or_that_nobody_can_write_is_refused(ann: Client, old_repo: str, path: str) -> None:
    value = {"path": path, "content": "YQ==", "oid": "0" * 64}
    kinds = ["file", "lfsFile", "deletedFile"] + ["deletedFolder"] * (path != "a/")  # folders may end like that
    announced = {"files": [{"path": path, "size": 1, "sample": ""}]}
    for answer in (
        *(ann.commit(old_repo, {"key": kind, "value": value}) for kind in kinds),
        ann.post(f"/api/models/{old_repo}/preupload/main", announced),
    ):
        assert (answer.status, bool(answer.error)) == (400, True)


@pytest.mark.parametrize(
    "path", ["ünïcode/名前.txt", "a b/c+d%2F.txt", "#?&=.txt", "é", "~", "-", "...", "a.git", "x" * 1024, "😀" * 200]
)
def test_any_other_name_comes_back_as_it_went_in(ann: Client, repo: str, path: str) -> None:
    from urllib.parse import quote

    assert ann.commit(repo, file(path, path.encode())).status == 200
    answer = ann.get(f"/{repo}/resolve/main/{quote(path)}")
    assert (answer.status, answer.data) == (200, path.encode())
    assert path in [item["path"] for item in ann.get(f"/api/models/{repo}/tree/main?recursive=1").json()]
    body = f"paths={quote(path)}&expand=false".encode()
    assert [item["path"] for item in ann.post(f"/api/models/{repo}/paths-info/main", body).json()] == [path]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ([file("abc", b"1")], 400),
        ([file("README/below", b"1")], 400),
        ([file("new", b"1"), file("new/below", b"1")], 400),
        ([deleted("nowhere")], 404),
        ([deleted("nowhere/")], 404),
        ([deleted("abc")], 404),
        ([deleted("README/")], 404),
        ([deleted("abc"), file("abc", b"1")], 404),
        ([deleted("README/"), file("README/below", b"1")], 404),
        ([deleted("abc/"), file("abc", b"1")], 200),
        ([deleted("abc/manifest"), file("abc", b"1")], 200),
        ([deleted("README"), file("README/below", b"1")], 200),
        ([], 200),
    ],
)
def test_nothing_is_a_file_and_a_folder_at_once(
    ann: Client, repo: str, changes: list[dict[str, Any]], status: int
) -> None:
    assert ann.commit(repo, *changes).status == status
    tree = ann.get(f"/api/models/{repo}/tree/main?recursive=1").json()
    paths = [item["path"] for item in tree]
    assert len(paths) == len(set(paths))


def test_a_commit_goes_to_a_branch_and_to_nothing_else(ann: Client, repo: str) -> None:
    ann.tag(repo, "v1.0.0")
    for revision in ("v1.0.0", "nowhere", ann.head(repo), "refs%2Ftags%2Fv1.0.0", "refs%2Fpr%2F1"):
        answer = ann.commit(repo, file("x", b"1"), at=revision)
        assert (answer.status, answer.headers["x-error-code"]) == (404, "RevisionNotFound")
    assert ann.commit(repo, file("x", b"1"), at="refs%2Fheads%2Fmain").status == 200


def test_what_is_larger_than_the_limits_is_refused(server: Server, ann: Client, repo: str) -> None:
    limits = server.site.limits
    assert ann.commit(repo, file("x", b"1" * (limits.inline + 1))).status == 413
    assert ann.commit(repo, file("x", b"1" * limits.inline)).status == 200
    assert ann.post(f"/api/models/{repo}/commit/main", b"x" * (limits.commit + 1)).status == 413
    assert ann.post("/api/repos/create", b" " * (limits.json + 1)).status == 413
    announced = {"files": [{"path": "x", "size": limits.file + 1}]}
    assert ann.post(f"/api/models/{repo}/preupload/main", announced).status == 413
    many = [deleted(str(number)) for number in range(10_001)]
    assert ann.commit(repo, *many).status in (400, 413)


@pytest.mark.parametrize("size", [-1, 1.5, "1", None, True, 2**53, 10**30])
def test_a_size_that_is_none_is_refused(ann: Client, old_repo: str, size: object) -> None:
    announced = {"files": [{"path": "x", "size": size}]}
    assert ann.post(f"/api/models/{old_repo}/preupload/main", announced).status == 400
    wanted = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": size}]}
    assert ann.post(f"/{old_repo}.git/info/lfs/objects/batch", wanted).status == 400


def test_long_titles_are_cut(ann: Client, old_repo: str) -> None:
    body = lines([{"key": "header", "value": {"summary": "é" * 5000, "description": "d" * 100_000}}])
    assert ann.post(f"/api/models/{old_repo}/commit/main", body).status == 200
    (newest, *_) = ann.get(f"/api/models/{old_repo}/commits/main").json()
    assert (len(newest["title"]), len(newest["message"])) == (1000, 65_536)


def test_a_merged_readme_describes_the_repository(ann: Client, bob: Client, old_repo: str) -> None:
    card = b"---\ntags: [merged]\n---\n"
    content = base64.b64encode(card).decode()
    change = {"key": "file", "value": {"path": "README.md", "content": content, "encoding": "base64"}}
    made = bob.post(f"/api/models/{old_repo}/commit/main?create_pr=1", lines([HEADER, change])).json()
    number = int(made["pullRequestUrl"].rpartition("/")[2])
    assert ann.get(f"/api/models/{old_repo}").json()["tags"] == []
    assert ann.post(f"/api/models/{old_repo}/discussions/{number}/merge", {}).status == 200
    assert ann.get(f"/api/models/{old_repo}").json()["tags"] == ["merged"]


def test_an_upload_of_other_bytes_is_refused_and_leaves_nothing(server: Server, ann: Client, old_repo: str) -> None:
    import hashlib

    sha256 = hashlib.sha256(b"right").hexdigest()
    wanted = {"operation": "upload", "objects": [{"oid": sha256, "size": 5}]}
    (found,) = ann.post(f"/{old_repo}.git/info/lfs/objects/batch", wanted).json()["objects"]
    path = found["actions"]["upload"]["href"].removeprefix(server.url)
    for data, status in ((b"wrong", 400), (b"righ", 400), (b"", 400), (b"right and more", 413)):
        answer = server.anyone.call("PUT", path, data)
        assert (answer.status, bool(answer.error)) == (status, True)
    for broken in (
        path.replace("size=5", "size=6"),
        path.replace("repo=", "repo=1"),
        path.replace("expires=", "expires=9"),
        path.replace(sha256, "f" * 64),
        path.replace(sha256, "..%2F..%2Fetc%2Fpasswd"),
        path.replace("sign=", "sign=%00"),
        path.partition("?")[0],
        path.replace("size=5", "size=" + "9" * 30),
    ):
        assert server.anyone.call("PUT", broken, b"right").status in (400, 403), broken
    assert list(server.site.blobs.staging().iterdir()) == []
    assert server.site.blobs.size(sha256) is None
    assert server.anyone.call("PUT", path, b"right").status == 200
    assert server.site.blobs.size(sha256) == 5
