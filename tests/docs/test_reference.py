"""The generated pages say what the code says."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from patchpm import settings
from patchpm.cli.app import COMMANDS
from patchpm.errors import ExitCode
from tests.docs.givens import ROOT

sys.path.insert(0, str(ROOT / "docs"))  # docs/make_reference.py is a program, and finds its modules beside itself
commands, environment, errors, error_sites, recipes, schemas = (
    importlib.import_module(f"generator.{name}")
    for name in ("commands", "environment", "errors", "error_sites", "recipes", "schemas")
)
Site = error_sites.Site


def test_writing_the_reference_again_changes_nothing() -> None:
    command = [sys.executable, "docs/make_reference.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "run `make docs`"


def test_every_command_is_listed_with_its_options() -> None:
    page = commands.page()
    assert all(f"## patchpm {name}\n" in page for name in COMMANDS)
    assert "### patchpm key generate" in page
    assert "`--frozen`" in page


def test_every_variable_of_the_settings_is_listed() -> None:
    page = environment.page(ROOT / "patchpm" / "settings.py")
    names = [value for name, value in vars(settings).items() if name.isupper() and isinstance(value, str)]
    assert len(names) > 3
    assert all(f"`{name}`" in page for name in names)


def test_every_exit_code_is_listed() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()  # as it is written: see the first test
    assert all(f"| `{int(code)}` | `{code.name}` |" in page for code in ExitCode)


def test_every_schema_is_listed_and_the_page_is_plain_text() -> None:
    page = schemas.page(ROOT / "registry_schema")
    names = [path.name for path in (ROOT / "registry_schema").glob("*.schema.json")]
    assert names
    assert all(name in page for name in names)
    assert all(line.isprintable() for line in page.splitlines())


def test_every_key_of_a_recipe_is_listed_with_its_default() -> None:
    page = recipes.page(ROOT / "patchpm")
    for path in sorted((ROOT / "recipes").glob("foreigners/*.toml")):
        for name, value in tomllib.loads(path.read_text()).items():
            tables = value if isinstance(value, list) else [value]
            keys = {key for one in tables if isinstance(one, dict) for key in one} or {name}
            assert all(f"| `{key}` |" in page for key in keys)
    assert "| `rate` | number (at least 0) | `0.005` |" in page
    assert '| `goal` | `"prefer"` or `"balance"` | `"prefer"` |' in page
    assert "| `replies` | list of texts | needed for `given` |" in page


def _sites(folder: Path, source: str) -> object:
    package = folder / "package"
    package.mkdir()
    (package / "module.py").write_text(source)
    return error_sites.error_sites(package)


def test_a_code_is_found_through_the_functions_that_pass_it_on(tmp_path: Path) -> None:
    source = """
FILE = "some.toml"
def outer(): inner("first", what="one")
def other(): inner("second", what=FILE)
def inner(kind, what): raise UsageError(f"{kind}-mismatch", f"{what} does not fit {len(what)}")
"""
    assert _sites(tmp_path, source) == [
        Site("first-mismatch", "UsageError", "one does not fit …"),
        Site("second-mismatch", "UsageError", "some.toml does not fit …"),
    ]


def test_a_code_that_cannot_be_found_out_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"module\.py:2: which code is made\(\)\?"):
        _sites(tmp_path, "\nraise UsageError(made(), 'what')\n")


def test_an_error_that_passes_on_the_code_of_another_adds_none(tmp_path: Path) -> None:
    source = """
try:
    raise UsageError("known", "it is known")
except UsageError as error:
    raise TrustError(error.code, "it is told otherwise")
"""
    assert _sites(tmp_path, source) == [Site("known", "UsageError", "it is known")]
