from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.builders import Gateway, everybody, patch, running
from tests.guard.conftest import locked

__all__ = ["locked"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines and files are looked at more often than usual, and what was replaced goes sooner."""
    monkeypatch.setattr("patchpm.gateway.upstreams._PERIOD", 0.2)
    monkeypatch.setattr("patchpm.gateway.serving._LOOK", 0.1)
    monkeypatch.setattr("patchpm.gateway.own_engine._QUIET", 0.4)


@pytest.fixture(scope="module")
def _of_everybody() -> Iterator[Gateway]:
    with running(everybody(patch("acme/a"))) as made:
        yield made


@pytest.fixture
def gateway(_of_everybody: Gateway) -> Gateway:
    """One for everybody with one patch and one engine, shared by the tests of a module that leave it as it is.

    What the engine is told is forgotten before each test.
    """
    _of_everybody.engine.as_new()
    _of_everybody.records.clear()
    return _of_everybody
