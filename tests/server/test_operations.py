"""What the people who run a server see of it: health, figures, logs."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from pathlib import Path

from patchpm.json_log import REGISTRY_LOG as LOG
from patchpm.json_log import JsonLines
from tests.server.builders import Client, Server, file, options_in, serving
from tests.server.postgres import Cluster


def test_requests_are_counted_by_route_and_never_by_name(server: Server, ann: Client, repo: str) -> None:
    for _ in range(3):
        ann.get(f"/{repo}/resolve/main/README")
    ann.get("/nowhere/at/all")
    ann.call("PROPFIND", "/health")
    page = ann.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    figures = page.data.decode()
    resolve = r'{method="GET",route="/{namespace}/{name}/resolve/{revision}/{path:path}",status="200"} [1-9]'
    assert re.search("patchpm_requests_total" + re.escape(resolve).replace(r"\[1\-9\]", "[1-9]"), figures)
    assert 'method="GET",route="none",status="404"' in figures
    assert 'method="other",route="/health",status="405"' in figures
    assert 'patchpm_commits_total{outcome="made"}' in figures
    for name in (repo, "acme", "nowhere", "README", "PROPFIND"):
        assert name not in figures


def test_every_answer_has_an_id_and_the_one_that_was_given_is_kept(server: Server) -> None:
    first, second = (server.anyone.get("/health").headers["x-request-id"] for _ in range(2))
    assert first != second
    assert server.anyone.get("/health", X_Request_Id="trace-1").headers["x-request-id"] == "trace-1"
    for bad in ("a b", "x" * 65, "é", '"', ""):
        assert server.anyone.get("/health", X_Request_Id=bad).headers["x-request-id"] != bad
    assert server.anyone.get("/nowhere").headers["x-request-id"]


def test_a_log_line_says_who_asked_for_what_and_how_it_ended(server: Server, ann: Client, repo: str) -> None:
    answer = ann.get(f"/api/models/{repo}?secret=query")
    line = json.loads(server.logged(answer)["line"])
    assert (line["method"], line["path"], line["status"]) == ("GET", f"/api/models/{repo}", 200)
    assert (line["user"], line["client"], line["bytes"]) == ("ann", "127.0.0.1", len(answer.data))
    assert line["event"] == "request"


def test_a_path_cannot_forge_a_log_line(server: Server) -> None:
    answer = server.anyone.get("/%0a%7b%22event%22:1%7d" + "x" * 2000)
    text = server.logged(answer)["line"]
    assert "\n" not in text
    assert len(json.loads(text)["path"]) == 500


def test_a_failure_is_logged_with_its_id_and_shows_the_client_nothing_else(server: Server, repo: str) -> None:
    sha256 = hashlib.sha256(b"# Hello").hexdigest()
    blob = server.site.blobs.staging().parent / sha256[:2] / sha256
    blob.rename(blob.with_suffix(".away"))
    try:
        answer = server.anyone.get(f"/{repo}/resolve/main/README")
    finally:
        blob.with_suffix(".away").rename(blob)
    assert answer.status == 500
    assert answer.error == f"Internal error; its id is {answer.headers['x-request-id']}"
    failed = json.loads(JsonLines().format(next(item for item in server.records if item.getMessage() == "failed")))
    assert failed["id"] == answer.headers["x-request-id"]
    assert "FileNotFoundError" in failed["traceback"]
    server.records.clear()


def test_without_its_database_a_server_is_alive_and_not_ready_and_comes_back(postgres: Cluster, tmp_path: Path) -> None:
    with serving(options_in(tmp_path / "server", postgres.new_database())) as server:
        ann = server.client("ann")
        repo = server.repo(ann, file="x")
        postgres.stop()
        try:
            assert server.anyone.get("/health").status == 200
            assert server.anyone.get("/ready").status == 503
            answer = ann.commit(repo, file("y", b"1"))
            assert (answer.status, answer.headers["retry-after"]) == (503, "2")
            assert "does not answer" in answer.error
            assert server.anyone.get(f"/{repo}/resolve/main/file").status == 503
        finally:
            postgres.start()
        assert server.anyone.get("/ready").status == 200
        assert ann.commit(repo, file("y", b"1")).status == 200


def test_a_server_whose_store_is_gone_is_not_ready(tmp_path: Path) -> None:
    with serving(options_in(tmp_path / "server")) as server:
        shutil.rmtree(tmp_path / "server" / "blobs")
        answer = server.anyone.get("/ready")
        assert answer.status == 503
        assert answer.error


def test_log_levels_are_kept(server: Server) -> None:
    LOG.setLevel(logging.WARNING)
    try:
        server.anyone.get("/health")
    finally:
        LOG.setLevel(logging.INFO)
    assert not server.records
