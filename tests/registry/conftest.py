from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulator import RegistrySimulator, simulated


@pytest.fixture
def registry(tmp_path: Path) -> RegistrySimulator:
    """A registry with the release `acme/toxicity` 1.0.0."""
    return simulated(tmp_path)
