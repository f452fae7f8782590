"""Many publishers and as many installers at once, on a server small and grown up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from patchpm.server.site import Limits
from tests.registry.hub_server import HubServer, hub_server
from tests.registry.s3 import new_bucket, s3_server
from tests.registry.test_race import ROOT, Site, hub_site
from tests.server.builders import options_in
from tests.server.postgres import cluster, programs

SECONDS = 15


@pytest.fixture(params=["sqlite and a folder", "postgresql and s3"])
def running(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with ExitStack() as stack:
        options = options_in(tmp_path / "server", limits=Limits())
        if request.param != "sqlite and a folder":
            binaries = programs()
            if binaries is None:
                pytest.skip("there is no PostgreSQL on this machine")
            environment = stack.enter_context(s3_server())
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            database = stack.enter_context(cluster(binaries)).new_database()
            store = f"s3://{new_bucket(environment)}/server"
            options = options_in(tmp_path / "server", database, store=store, limits=Limits())
        yield stack.enter_context(hub_server(tmp_path / "server", options))


def member(site: Site, doing: str, name: str) -> subprocess.Popen[str]:
    """Start one of the crowd."""
    command = [sys.executable, "-m", "tests.reliability.crowd", doing, site.host.where, str(site.keys), str(site.pin)]
    return subprocess.Popen(
        [*command, name, str(SECONDS)],
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("crowd", [pytest.param(8, marks=pytest.mark.slow), pytest.param(32, marks=pytest.mark.stress)])
def test_a_crowd_of_publishers_and_installers_loses_nothing_and_meets_no_error(
    running: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowd: int
) -> None:
    site = hub_site(running, tmp_path, monkeypatch)
    names = [f"{site.vendor}/patch-{number}" for number in range(crowd)]
    common = f"{site.vendor}/common"
    assert site.publisher(common).wait(60) == 0
    members = [member(site, "publish", name) for name in names] + [member(site, "install", common) for _ in names]
    for process in members:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in members:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [json.loads(process.communicate()[0]) for process in members]
    assert [process.returncode for process in members] == [0] * len(members)
    publishers, installers = results[:crowd], results[crowd:]
    assert {error.partition(":")[0] for result in publishers for error in result["errors"]} <= {"publish-conflict"}
    assert not [error for result in installers for error in result["errors"]]
    assert all(result["done"] for result in installers)
    for name, result in zip(names, publishers, strict=True):
        assert set(result["done"]) <= site.versions(name)
    counts = {
        "published": sum(len(result["done"]) for result in publishers),
        "told of a conflict": sum(len(result["errors"]) for result in publishers),
        "installed": sum(len(result["done"]) for result in installers),
    }
    (tmp_path / "counts.json").write_text(json.dumps(counts))  # for whoever wants to know, with --basetemp
