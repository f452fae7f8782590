"""What each command may import. Time itself is measured in benchmarks/start_up.py; this is what keeps it short."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from patchpm.evaluate.results import Results, write_results
from tests.world import World

_LIGHT = {"click", "patchpm", "semver"}
_SIGNATURES = _LIGHT | {"_cffi_backend", "_openssl", "cryptography"}
_REGISTRIES = _SIGNATURES | {"bcrypt", "filelock", "securesystemslib", "tuf", "urllib3"}
_BASE = {"numpy"}
"""Rounding float32 weights, the first time that a base is hashed."""

MAY_IMPORT = {
    "--help": {"click", "patchpm"},
    "--version": {"patchpm"},
    "completion bash": {"click", "patchpm"},
    "list": _LIGHT,
    "report results.json --out page.html": _LIGHT,
    "tree": _LIGHT,
    "why toxicity": _LIGHT,
    "lock --check": _SIGNATURES,
    "key list": _SIGNATURES,
    "cache show": _SIGNATURES,
    "trust show": _SIGNATURES,
    "verify": _SIGNATURES,
    "install --frozen": _SIGNATURES,
    "install": _REGISTRIES,
    "outdated": _REGISTRIES,
    "search": _REGISTRIES,
    "info toxicity": _REGISTRIES,
    "status": _REGISTRIES | _BASE,
    "update": _REGISTRIES | _BASE | {"nab_resolver"},
    "lock": _REGISTRIES | _BASE | {"nab_resolver"},
}
_PROGRAM = """
import json, sys
before = set(sys.modules)
from patchpm.cli import start
sys.argv = ["patchpm", *json.loads(sys.argv[1])]
try:
    code = start.main()
except SystemExit as done:
    code = done.code
loaded = {name for name, module in sys.modules.items() if module is not None}
found = {name.partition(".")[0] for name in loaded - before} - set(sys.stdlib_module_names)
print(json.dumps([code, sorted(found)]), file=sys.__stderr__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A project in which everything is as it should be, so that no command changes it."""
    with pytest.MonkeyPatch.context() as patched:
        world = World(tmp_path_factory.mktemp("installed"), patched)
        world.publish()
        (world.project / "results.json").write_bytes(write_results(Results(title="nothing", base="tiny")))
        yield world.started("toxicity")


@pytest.mark.parametrize("line", MAY_IMPORT)
def test_a_command_imports_only_what_it_needs(installed: World, line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(line.split())],
        cwd=installed.project,
        capture_output=True,
        text=True,
        check=True,
    )
    code, found = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert set(found) <= MAY_IMPORT[line]
