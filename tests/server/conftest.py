from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.builders import Client, Server, options_in, serving
from tests.server.postgres import Cluster, cluster, programs


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL for all tests that ask for one."""
    binaries = programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with cluster(binaries) as made:
        yield made


@pytest.fixture(scope="session")
def shared_database(postgres: Cluster) -> str:
    """One database for all modules: a new one takes longer than most tests."""
    return postgres.new_database()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a module, on each kind of database."""
    where = request.getfixturevalue("shared_database") if request.param == "postgresql" else None
    with serving(options_in(tmp_path_factory.mktemp("server"), where)) as made:
        yield made


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The server, which must not fail in itself whatever a test does to it."""
    running.records.clear()
    yield running
    assert not running.failures()


@pytest.fixture
def ann(server: Server) -> Client:
    """Who manages `acme`."""
    return server.known("ann")


@pytest.fixture
def bob(server: Server) -> Client:
    """Someone else."""
    return server.known("bob")


@pytest.fixture(scope="module")
def old_repo(running: Server) -> str:
    """The same one for all tests that only try to change it."""
    return running.repo(running.known("ann"), README="# Hello", abc__manifest="{}")


@pytest.fixture
def repo(server: Server, ann: Client) -> str:
    """A new repository with a README, and a file in a folder."""
    return server.repo(ann, README="# Hello", abc__manifest="{}")
