"""A server that is killed at any moment: after the next start all that was acknowledged is there, and all is whole."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import urllib3

from tests.server.builders import Client, file, large_file
from tests.server.process import accounts_in, process

SEEDS = [pytest.param(seed, marks=pytest.mark.slow if seed < 3 else pytest.mark.stress) for seed in range(12)]


def write_until_it_is_gone(ann: Client, repo: str, acknowledged: dict[str, bytes]) -> None:
    """Commit, upload and tag until nobody answers; keep what the server said that it has."""
    with suppress(urllib3.exceptions.HTTPError, AssertionError):
        for number in range(1000):
            data = os.urandom(3000)
            assert ann.commit(repo, file(f"{number}/a", data), file(f"{number}/b", data[::-1])).status == 200
            acknowledged[f"{number}/a"] = data
            assert ann.tag(repo, f"v{number}.0.0").status == 200
            large = os.urandom(20_000)
            sha256 = ann.upload(repo, large)
            assert ann.commit(repo, large_file(f"{number}/large", sha256)).status == 200
            acknowledged[f"{number}/large"] = large


def check_that_all_is_whole(ann: Client, repo: str) -> set[str]:
    """Every name leads to a commit, and every file of it has its bytes; returns the paths on `main`."""
    refs = ann.get(f"/api/models/{repo}/refs").json()
    paths: set[str] = set()
    for ref in [*refs["tags"], *refs["branches"]]:
        answer = ann.get(f"/api/models/{repo}/tree/{ref['targetCommit']}?recursive=true")
        assert answer.status == 200
        paths = {item["path"] for item in answer.json() if item["type"] == "file"}
        numbers = {path.split("/")[0] for path in paths}
        assert {f"{number}/{name}" for number in numbers for name in "ab"} <= paths, "half a commit"
        for item in answer.json():
            if item["type"] == "file":
                data = ann.get(f"/{repo}/resolve/{ref['targetCommit']}/{item['path']}").data
                digest = hashlib.sha256(data) if "lfs" in item else hashlib.sha1(b"blob %d\0" % len(data) + data)
                assert digest.hexdigest() == item.get("lfs", item)["oid"]
    return paths


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_acknowledged_survives_and_nothing_is_torn(tmp_path: Path, seed: int) -> None:
    token, _ = accounts_in(tmp_path / "data")
    acknowledged: dict[str, dict[str, bytes]] = {f"acme/r{number}": {} for number in range(3)}
    with process(tmp_path / "data") as running:
        ann = Client(running.url, token)
        for repo in acknowledged:
            assert ann.create(repo).status == 200
        writers = [threading.Thread(target=write_until_it_is_gone, args=(ann, *item)) for item in acknowledged.items()]
        for writer in writers:
            writer.start()
        time.sleep(random.Random(seed).uniform(0.05, 0.8))
        running.kill()
        for writer in writers:
            writer.join()
    with process(tmp_path / "data") as again:
        ann = Client(again.url, token)
        for repo, files in acknowledged.items():
            assert files.keys() <= check_that_all_is_whole(ann, repo)
            for path, data in files.items():
                assert ann.get(f"/{repo}/resolve/main/{path}").data == data
            assert ann.commit(repo, file("after", b"1")).status == 200
