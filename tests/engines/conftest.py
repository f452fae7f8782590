"""Real engines on the real model. They take minutes: each is started once a module, by `make test-engines` only.

Their executables are in PATCHPM_ENGINES_BIN, else in `.venv-engines/bin`. Where they are missing, the tests fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchpm.model.demo_base import demo_base
from patchpm.settings import Folders
from tests.engines.running import Project, bin_folder

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark everything here, and leave it out unless it was asked for."""
    asked = "engines" in (config.option.markexpr or "")
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.engines)
            if not asked:
                item.add_marker(pytest.mark.skip(reason="needs `-m engines`"))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with the three shipped patches, for the real model; what patchpm keeps is thrown away."""
    assert (bin_folder() / "python").exists(), f"no engines in {bin_folder()}: run `make test-engines`"
    base = demo_base(Folders.of_user().cache)
    root = tmp_path_factory.mktemp("engines")
    before = os.environ.get("PATCHPM_HOME")
    os.environ["PATCHPM_HOME"] = str(root / "home")
    try:
        yield Project.made(root, base)
    finally:
        if before is None:
            del os.environ["PATCHPM_HOME"]
        else:
            os.environ["PATCHPM_HOME"] = before
