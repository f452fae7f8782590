"""`patchpm registry serve`: how it starts, stops, says what is wrong, and works as several processes."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from patchpm.cli.registry_serve import serve_command
from tests.server.builders import Client, file
from tests.server.process import accounts_in, process, run
from tests.server.test_races import at_once
from tests.simulator import refused

pytestmark = pytest.mark.slow


def test_it_keeps_everything_in_one_folder_and_shows_the_first_token_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with process(data) as running:
        found = re.search("kept nowhere: (ppm_[0-9a-f]{40})", running.log.read_text())
        assert found is not None
        admin = Client(running.url, found[1])
        assert admin.get("/api/whoami-v2").json()["name"] == "admin"
        assert admin.create("patch").status == 200
        assert admin.commit("admin/patch", file("x", b"1")).status == 200
        assert running.stop() in (0, -15)
        said = running.log.read_text().splitlines()
    assert data.stat().st_mode & 0o777 == 0o700
    for line in said[2:]:
        fields = json.loads(line)
        assert {"time", "level", "event"} <= fields.keys()
        assert "ppm_" not in line
    with process(data) as again:
        assert "made the user" not in again.log.read_text()
        assert Client(again.url).get("/admin/patch/resolve/main/x").data == b"1"


def test_a_port_that_is_in_use_is_told_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = run(["serve", "--data", str(tmp_path / "data"), "--port", str(taken.getsockname()[1])])
    assert (found.returncode, "[cannot-listen]" in found.stderr, "Traceback" in found.stderr) == (1, True, False)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--host", "no.such.host.invalid"], "cannot-listen"),
        (["--host", "x" * 300], "cannot-listen"),
        (["--data", "file/below"], "cannot-write"),
        (["--store", "file/below"], "cannot-write"),
        (["--store", "ftp://x"], "unsupported-registry"),
        (["--database", "mysql://x/y"], "unsupported-database"),
        (["--database", "nonsense"], "unsupported-database"),
        (["--database", "sqlite:////x/y"], "unreachable"),
        (["--database", "postgresql://nobody@127.0.0.1:1/x"], "unreachable"),
    ],
)
def test_what_hinders_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with refused(code):
        serve_command.main(["--data", "data", "--port", "0", *arguments], standalone_mode=False)


def test_told_to_stop_it_finishes_what_is_running_and_takes_nothing_new(tmp_path: Path) -> None:
    token, _ = accounts_in(tmp_path / "data")
    with process(tmp_path / "data") as running:
        ann = Client(running.url, token)
        ann.create("acme/patch")
        host, port = running.url.removeprefix("http://").split(":")
        body = json.dumps({"tag": "late"}).encode()
        with socket.create_connection((host, int(port))) as line, socket.create_connection((host, int(port))) as idle:
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(1000)
            head = f"POST /api/models/acme/patch/tag/main HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
            while ann.get("/metrics").status != 200:
                time.sleep(0.01)
            stopped = threading.Thread(target=running.stop)
            stopped.start()
            while idle.recv(1000):  # closed at once
                pass
            line.sendall(body[5:])
            assert line.recv(1000).startswith(b"HTTP/1.1 200 ")
            stopped.join()
        assert '"level": "error"' not in running.log.read_text()


def test_several_workers_share_everything_and_their_figures_add_up(tmp_path: Path) -> None:
    token, _ = accounts_in(tmp_path / "data")
    with process(tmp_path / "data", "--workers", "2") as running:
        ann = Client(running.url, token)
        ann.create("acme/patch")
        parent = ann.head("acme/patch")
        assert at_once(lambda number: ann.commit("acme/patch", file(f"{number}", b"1"), parent=parent)) == {
            200: 1,
            412: 15,
        }
        for _ in range(50):
            assert Client(running.url).get("/api/models/acme/patch").status == 200
        figures = ann.get("/metrics").data.decode()
        wanted = 'patchpm_requests_total{method="GET",route="/api/{kind:kind}/{namespace}/{name}",status="200"} 50.0'
        assert wanted in figures
        assert 'patchpm_commits_total{outcome="made"} 1.0' in figures
        assert 'patchpm_commits_total{outcome="conflict"} 15.0' in figures
        workers = {line.split('"pid": ')[1] for line in running.log.read_text().splitlines() if '"pid": ' in line}
        assert len(workers) != 1
        assert running.stop() == 0
