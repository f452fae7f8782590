"""How long the command line takes to start, side by side with Python and with click.

Every command of a round runs once before the next round, so all of them meet the same weather. Byte code is compiled
first.

    python benchmarks/start_up.py [--rounds 30] [--json]
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

import patchpm
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import Fingerprint
from patchpm.patch.manifest import FileRef
from patchpm.patch.name import PatchName
from patchpm.patch.patch_set import set_digest
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.project.lock import Composition, Lock, LockedBase, LockedRegistry, LockedRelease
from patchpm.project.lock_toml import write_lock
from patchpm.project.project_file import read_project_file

_CLICK = "import click\n@click.command()\ndef main(): click.echo('x')\nmain()"
_KEY = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def project(folder: Path, patches: int) -> None:
    """Write a project with a lock of `patches` releases; the commands timed here read nothing else."""
    names = [PatchName.parse(f"acme/patch-{number}") for number in range(patches)]
    text = '[bases]\ntiny = "m"\n[patches]\n' + "".join(f'"{name}" = "^1"\n' for name in names)
    (folder / "patchpm.toml").write_text(text)
    digest, version = Digest.of(b"x"), Version.parse("1.0.0")
    releases = tuple(
        LockedRelease(
            name=name,
            version=version,
            base="tiny",
            short=digest.hex[:12],
            registry="builtin",
            domain="toxicity",
            tokens=10,
            manifest=FileRef(1, digest),
            prefix=FileRef(1, digest),
            attestations=FileRef(1, digest),
            threshold=1,
            signers=(_KEY,),
            requires=() if number == 0 else ((names[number - 1], Range.parse("^1")),),
        )
        for number, name in enumerate(names)
    )
    anchor = "system-start"
    rows = [(name, version, digest) for name in names]
    lock = Lock(
        requirements=read_project_file(text).digest,
        bases=(LockedBase("tiny", Fingerprint(digest, digest, digest, digest, 8)),),
        registries=(LockedRegistry("builtin", 1, 1, 1, 1),),
        releases=releases,
        compositions=(Composition("tiny", anchor, tuple(names), 10 * patches, set_digest(anchor, rows)),),
    )
    (folder / "patchpm.lock").write_text(write_lock(lock))


def main() -> None:
    """Time the commands and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for package in (Path(click.__file__).parent, Path(patchpm.__file__).parent):
        compileall.compile_dir(package, quiet=1)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    program = str(Path(sys.executable).with_name("patchpm"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "click alone": [sys.executable, "-c", _CLICK],
        "patchpm --version": [program, "--version"],
        "patchpm list": [program, "list"],
        "patchpm tree": [program, "tree"],
        "patchpm why": [program, "why", "acme/patch-3"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        project(Path(folder), 10)
        for number in range(options.rounds + 3):
            for name, command in commands.items():
                started = time.perf_counter()
                subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
                if number >= 3:
                    times[name].append(1000 * (time.perf_counter() - started))
    medians = {name: statistics.median(found) for name, found in times.items()}
    rows = [
        {
            "command": name,
            "median_ms": round(median, 1),
            "min_ms": round(min(times[name]), 1),
            "against_python": round(median / medians["python -c pass"], 2),
            "against_click": round(median / medians["click alone"], 2),
        }
        for name, median in medians.items()
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'command':<20}{'median ms':>10}{'min ms':>9}{'/ python':>10}{'/ click':>9}")
    for row in rows:
        print(
            f"{row['command']:<20}{row['median_ms']:>10}{row['min_ms']:>9}{row['against_python']:>10}{row['against_click']:>9}"
        )


if __name__ == "__main__":
    main()
