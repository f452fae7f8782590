"""Builds the wheel, installs it into empty environments, and uses it there: what a user gets, not what a checkout has.

    python tests/wheel/check.py

Without extras, every module of the core rooms and of the command line is imported, and the built-in registry is read.
With the extras, every module is imported. It needs Python and nothing else, so it can run beside the set-up.
"""

from __future__ import annotations

import subprocess
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = tuple(f"patchpm.{room}" for room in ("model", "train", "evaluate", "server", "export", "gateway"))
OF_EXTRAS = tuple(
    f"patchpm.{name}"
    for name in (
        "cli.served_roster",
        "guard.fewer_bits",
        "guard.in_process",
        "guard.measuring",
        "registry.hub_writer",
        "registry.model_card",
    )
)
"""Modules that need an extra, of rooms that do not."""
TORCH = "torch==2.13.0"


def main() -> None:
    """Run the checks."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        core = environment(work / "core")
        run(
            str(core / "pip"),
            "wheel",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--wheel-dir",
            str(work),
            str(ROOT),
        )
        (wheel,) = work.glob("*.whl")
        modules = public_modules(wheel)
        light = [name for name in modules if not name.startswith(HEAVY) and name not in OF_EXTRAS]
        install(core, str(wheel))
        run(str(core / "python"), "-c", imports(light))
        run(str(core / "patchpm"), "--version", home=work / "home")
        run(str(core / "patchpm"), "search", home=work / "home")
        whole = environment(work / "whole")
        install(whole, TORCH)
        install(whole, f"{wheel}[model,train,hub,server,gateway]")
        run(str(whole / "python"), "-c", imports(modules))
    print(f"{len(light)} modules import without extras, {len(modules)} with them")  # noqa: T201


def public_modules(wheel: Path) -> list[str]:
    """Names of all modules in a wheel that start no program."""
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if name.endswith(".py")]
    names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files]
    return sorted(name for name in names if not name.endswith("__main__"))


def environment(folder: Path) -> Path:
    """Make an empty environment; return its folder of programs."""
    venv.create(folder, with_pip=True)
    return folder / "bin"


def install(programs: Path, requirement: str) -> None:
    """Install a requirement into the environment that these programs are of."""
    run(str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check", requirement)


def imports(modules: list[str]) -> str:
    """A program that imports modules."""
    return f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)"


def run(*command: str, home: Path | None = None) -> None:
    """Run a command, away from the checkout."""
    environment = None if home is None else {"PATCHPM_HOME": str(home), "PATH": "/usr/bin:/bin"}
    subprocess.run(command, check=True, cwd=tempfile.gettempdir(), env=environment)


if __name__ == "__main__":
    main()
