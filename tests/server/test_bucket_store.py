"""Files in a bucket: large ones are given by the bucket itself, to whoever the server lets, for some minutes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import urllib3

from patchpm.server.blobs import open_blobs
from tests.registry.s3 import new_bucket, s3_server
from tests.server.builders import Server, file, large_file, options_in, serving
from tests.simulator import refused


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with s3_server() as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(scope="module")
def bucket_server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = f"s3://{new_bucket(environment)}/below"
    with serving(options_in(tmp_path_factory.mktemp("bucket"), store=store)) as made:
        yield made
        assert not made.failures()


def test_a_large_file_is_a_redirect_to_the_bucket_with_all_that_clients_need(bucket_server: Server) -> None:
    ann = bucket_server.client("ann")
    repo = bucket_server.repo(ann)
    data = b"weights" * 20_000
    sha256 = ann.upload(repo, data)
    assert ann.commit(repo, large_file("w.bin", sha256)).status == 200
    for method in ("HEAD", "GET"):
        answer = ann.call(method, f"/{repo}/resolve/main/w.bin")
        assert (answer.status, answer.data) == (302, b"")
        assert answer.headers["x-linked-etag"] == f'"{sha256}"'
        assert answer.headers["x-linked-size"] == str(len(data))
        assert answer.headers["x-repo-commit"] == ann.head(repo)
        assert answer.headers["cache-control"] == "no-store"
    link = answer.headers["location"]
    assert not link.startswith(bucket_server.url)
    assert "X-Amz-Signature=" in link
    assert urllib3.request("GET", link).data == data
    part = urllib3.request("GET", link, headers={"Range": "bytes=7-13"})
    assert (part.status, part.data) == (206, b"weights")


def test_a_small_file_comes_from_the_server(bucket_server: Server) -> None:
    ann = bucket_server.client("ann")
    repo = bucket_server.repo(ann, file="small")
    assert ann.get(f"/{repo}/resolve/main/file").data == b"small"
    assert ann.get(f"/{repo}/resolve/main/file", Range="bytes=1-2").data == b"ma"
    assert ann.commit(repo, file("empty", b"")).status == 200
    assert ann.get(f"/{repo}/resolve/main/empty").data == b""


def test_a_secret_file_gives_strangers_no_link(bucket_server: Server) -> None:
    ann, bob = bucket_server.client("ann"), bucket_server.client("bob")
    repo = bucket_server.repo(ann)
    sha256 = ann.upload(repo, b"secret" * 20_000)
    ann.commit(repo, large_file("w.bin", sha256))
    ann.call("PUT", f"/api/models/{repo}/settings", {"visibility": "private"})
    assert ann.get(f"/{repo}/resolve/main/w.bin").status == 302
    for stranger in (bob, bucket_server.anyone):
        answer = stranger.get(f"/{repo}/resolve/main/w.bin")
        assert (answer.status, "location" in answer.headers) == (404, False)


def test_a_bucket_that_cannot_be_used_is_told_at_the_start(environment: dict[str, str]) -> None:
    with refused("unreachable"):
        open_blobs("s3://no-such-bucket-at-all")
    with refused("unsupported-registry"):
        open_blobs("s3://name:secret@bucket")
