from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulator import RegistrySimulator


@pytest.fixture
def registry(tmp_path: Path) -> RegistrySimulator:
    """A registry with the release `acme/toxicity` 1.0.0."""
    return RegistrySimulator(tmp_path)
