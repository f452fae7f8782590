"""npm's own `semver` package, asked through one node process, and the golden vectors made from it.

`python -m tests.patch.npm_oracle` writes `vectors/ranges.json` anew.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

NPM_VERSION = "7.8.6"
VECTORS = Path(__file__).parent / "vectors" / "ranges.json"
_SCRIPT = """
const semver = require('semver');
require('readline').createInterface({input: process.stdin}).on('line', line => {
  const answers = JSON.parse(line).map(([range, version, includePrerelease]) => {
    if (semver.validRange(range) === null) return null;
    return version === null ? true : semver.satisfies(version, range, {includePrerelease});
  });
  console.log(JSON.stringify(answers));
});
"""
Question = tuple[str, str | None, bool]
"""Range, version (None: is the range valid at all?), and whether pre-releases count."""


class Npm:
    """A node process that answers lists of questions."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, questions: list[Question]) -> list[bool | None]:
        """One answer a question; None where npm refuses the range."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(questions) + "\n")
        self._process.stdin.flush()
        answers = json.loads(self._process.stdout.readline())
        assert len(answers) == len(questions)
        return list(answers)


def missing() -> str | None:
    """Why the oracle cannot be asked here, or None."""
    absent = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    return f"{' and '.join(absent)} not installed: the golden vectors hold npm's answers" if absent else None


@contextmanager
def npm() -> Iterator[Npm]:
    """Start node with the package `semver`, which is installed once into the user's cache."""
    folder = user_cache_path("patchpm") / "oracle" / NPM_VERSION
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "node_modules" / "semver" / "package.json").is_file():
            command = ["npm", "install", "--prefix", str(folder), "--no-fund", "--no-audit", f"semver@{NPM_VERSION}"]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
    process = subprocess.Popen(
        ["node", "-e", _SCRIPT], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Npm(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


_SINGLE = """
* x X 1 1.2 1.2.3 =1.2.3 v1.2.3 1.x 1.X.x 1.2.x 1.2.* =1.2 =1 ^1 ^1.2 ^1.2.3 ^0 ^0.0 ^0.1 ^0.0.1 ^0.2.3 ^1.x ^1.2.x ^*
~1 ~1.2 ~1.2.3 ~>1.2 ~0 ~0.2.3 ~* >1 >1.2 >1.2.3 >=1 >=1.2 >=1.2.3 <1 <1.2 <1.2.3 <=1 <=1.2 <=1.2.3 >* <* >=* <=*
>=0.0.0 <0.0.0 >=0 <0.0.0-0 1.2.3-rc.1 ^1.2.3-rc.1 ~1.2.3-rc.1 >=1.2.3-rc.1 <1.2.3-rc.1 <=1.2.3-rc.1 >1.2.3-rc.1
=1.2.3-rc.1 ^0.0.1-rc.1 ^0.2.3-alpha ~0.2.3-alpha 1.2.3+build ^1.2.3-rc.1+build
"""
_COMPOUND = """
>=1.2 <2
>= 1.2  < 2
>1.2.3 <=2.0.0
1.2 - 1.4
1.2.3 - 1.3
1 - 2.0.0
x - 2
1.2 - x
1.2.3-rc.1 - 1.3.0
1.2.3 - 1.3.0-rc.1
1.2.3-alpha - 1.2.3-rc.2
1.2 || 2.x
^1.2.3-rc.1 || ^2
* || 1.2.3-rc.1
>=0.0.0 || 1.2.3-rc.1
<1 || >=2
>=1.2.3-rc.1 <1.2.3
>1.2.3-alpha <2.0.0-0
^ 1.2.3
~ 1.2
<2 >=1.2.3-beta
>2 <1
^1.2 ^1.3
<0.0.0-0 || 1
"""
_VERSIONS = """
0.0.0 0.0.0-0 0.0.1 0.0.1-rc.1 0.0.1-rc.2 0.0.2-0 0.0.2 0.1.0-0 0.1.0 0.2.3-alpha 0.2.3 0.2.4 0.3.0-0 1.0.0-0
1.0.0-alpha 1.0.0 1.1.9 1.2.0-0 1.2.0-rc.1 1.2.0 1.2.3-0 1.2.3-1 1.2.3-alpha 1.2.3-alpha.1 1.2.3-beta 1.2.3-rc.1
1.2.3-rc.2 1.2.3-rc.10 1.2.3-rc.x 1.2.3 1.2.3+build 1.2.4-rc.1 1.2.4 1.3.0-0 1.3.0-rc.1 1.3.0 1.3.1-0 1.3.1 1.4.0-rc.1
1.4.0 1.4.9 1.5.0-0 1.5.0 1.10.0 2.0.0-0 2.0.0-rc.1 2.0.0 2.0.1 2.3.4-rc.1 2.3.4 3.0.0-0 3.0.0
"""


def _random_range(source: random.Random) -> str:
    def partial() -> str:
        parts = [source.choice("0123x") for _ in range(source.randint(1, 3))]
        if "x" in parts:
            parts = parts[: parts.index("x") + 1]
        elif len(parts) == 3 and source.random() < 0.4:
            parts[2] += source.choice(["-0", "-alpha", "-rc.1", "-rc.2"])
        return ".".join(parts)

    def alternative() -> str:
        if source.random() < 0.15:
            return f"{partial()} - {partial()}"
        operators = ["", "^", "~", ">=", ">", "<", "<=", "="]
        return " ".join(source.choice(operators) + partial() for _ in range(source.choice([1, 1, 1, 2])))

    return " || ".join(alternative() for _ in range(source.choice([1, 1, 2])))


def _write_vectors() -> None:
    source = random.Random(20261124)
    versions = _VERSIONS.split()
    drawn = (_random_range(source) for _ in range(250))
    ranges = list(dict.fromkeys([*_SINGLE.split(), *_COMPOUND.strip().splitlines(), *drawn]))
    rows = {}
    with npm() as oracle:
        for text in ranges:
            plain = oracle.ask([(text, version, False) for version in versions])
            wide = oracle.ask([(text, version, True) for version in versions])
            if None not in plain:
                rows[text] = ["".join("01"[bool(answer)] for answer in answers) for answers in (plain, wide)]
    value = {"npm semver": NPM_VERSION, "versions": versions, "ranges": rows}
    VECTORS.parent.mkdir(exist_ok=True)
    VECTORS.write_text(json.dumps(value, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    _write_vectors()
