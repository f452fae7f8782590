from __future__ import annotations

from pathlib import Path

import pytest

from tests.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A registry with the vendor `acme`, a base model and an empty project folder."""
    return World(tmp_path, monkeypatch)
