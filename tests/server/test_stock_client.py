"""The stock client of the Hub, unchanged, against this server: as a library and on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.builders import Server, options_in, serving

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("hub_client.py")
VERSIONS = ["huggingface_hub==1.10.2", "huggingface_hub>=2"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Server]:
    """A server with the limits that it has by itself."""
    from patchpm.server.site import Limits

    with serving(options_in(tmp_path / "server", limits=Limits())) as made:
        yield made
        assert not made.failures()


def drive(python: str, hub: Server, folder: Path) -> None:
    tokens = [str(hub.client(user).token) for user in ("ann", "bob")]
    found = subprocess.run(
        [python, str(SCRIPT), hub.url, *tokens],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(folder),
    )
    assert found.returncode == 0, found.stdout + found.stderr


def environment(folder: Path) -> dict[str, str]:
    """Nothing of whoever runs the tests."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "NO_COLOR": "1",
    }


def test_every_step_of_the_installed_version_works(hub: Server, tmp_path: Path) -> None:
    drive(sys.executable, hub, tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_step_of_other_versions_works(hub: Server, tmp_path: Path, version: str) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, "venv"], check=True, cwd=tmp_path)
    python = str(tmp_path / "venv" / "bin" / "python")
    installed = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, version], capture_output=True, text=True, check=False
    )
    if installed.returncode != 0:
        pytest.skip(f"{version} cannot be installed here: {installed.stderr[-300:]}")
    drive(python, hub, tmp_path)


def test_its_command_line_needs_two_variables_and_nothing_else(hub: Server, tmp_path: Path) -> None:
    ann = hub.client("ann")
    here = environment(tmp_path) | {"HF_ENDPOINT": hub.url, "HF_TOKEN": str(ann.token), "COLUMNS": "250"}
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "README.md").write_text("---\ntags: [patchpm]\n---\n# Patch\n")
    (tmp_path / "patch" / "prefix.safetensors").write_bytes(bytes(100_000))

    def hf(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("hf")), *arguments]
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=here)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    assert "ann" in hf("auth", "whoami")
    hf("repos", "create", "acme/toxicity")
    hf("upload", "acme/toxicity", str(tmp_path / "patch"))
    hf("repos", "tag", "create", "acme/toxicity", "v1.0.0")
    assert "acme/toxicity" in hf("models", "ls", "--filter", "patchpm")
    assert "acme/toxicity" not in hf("models", "ls", "--filter", "nothing")
    hf("download", "acme/toxicity", "--revision", "v1.0.0", "--local-dir", str(tmp_path / "got"))
    assert (tmp_path / "got" / "prefix.safetensors").read_bytes() == bytes(100_000)
    hf("download", "acme/toxicity", "--revision", "v1.0.0")
    hf("cache", "verify", "acme/toxicity", "--revision", "v1.0.0")
