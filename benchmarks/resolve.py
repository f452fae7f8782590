"""How long a resolution takes against a large index: `python -m benchmarks.resolve [--json]`.

5,000 patches of 20 versions each, with requires and conflicts, are generated from a seed. Measured is one whole call of
`resolve` once the index is loaded: for the unsolvable case that includes the proof, its words and the ways out.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Sequence

from patchpm.errors import ResolutionError
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel, Fingerprint
from patchpm.patch.manifest import Compose, FileRef
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.registry.index import ReleaseEntry
from patchpm.resolve.resolver import Resolution, RootRequirement, Target, resolve

SEEDS = (1, 2, 3)
PATCHES = 5_000
VERSIONS = [f"{major}.{minor}.0" for major in (1, 2, 3, 4) for minor in range(5)]
RUNS = 30
GOAL_MS = 20.0
_DIGEST = Digest.of(b"base")
_BASE = BaseModel("Base-1B", _DIGEST, _DIGEST, (), (), None, None, 8)
_TARGET = Target("base", Fingerprint(_DIGEST, _DIGEST, None, None, 8))


class GeneratedIndex:
    """An index in memory. Patches require and conflict with patches of lower numbers only."""

    def __init__(self, seed: int) -> None:
        source = random.Random(seed)
        parsed = [Version.parse(text) for text in VERSIONS]
        self._names = [PatchName("acme", f"p{number:04}") for number in range(PATCHES)]
        self._entries: dict[PatchName, list[ReleaseEntry]] = {}
        self.requires = self.conflicts = 0
        for number, name in enumerate(self._names):
            others = [source.randrange(number) for _ in range(source.choice([0, 1, 1, 2]))] if number else []
            self._entries[name] = [self._entry(source, name, rank, parsed[rank], others) for rank in range(len(parsed))]

    def _entry(
        self, source: random.Random, name: PatchName, rank: int, version: Version, others: Sequence[int]
    ) -> ReleaseEntry:
        """Newer versions require newer ones; one release in four conflicts with an old version of something."""
        requires = {self._names[other]: _wanted(source, rank) for other in others}
        conflicts = {}
        if others and source.random() < 0.25:
            conflicts[self._names[source.randrange(max(others) + 1)]] = Range.parse(f"<{source.randint(1, 3)}")
        self.requires += len(requires)
        self.conflicts += len(conflicts)
        compose = Compose(tuple(sorted(requires.items())), tuple(conflicts.items()))
        file = FileRef(1, _DIGEST)
        at = "2026-11-24T12:00:00Z"
        return ReleaseEntry(name, version, "toxicity", "", _BASE, 8, (), compose, file, file, file, at, None, "made-up")

    def entries(self, name: PatchName) -> Sequence[ReleaseEntry]:
        """All releases of `name`."""
        return self._entries.get(name, ())

    def names(self) -> Sequence[PatchName]:
        """All names known."""
        return self._names


def _wanted(source: random.Random, rank: int) -> Range:
    major = min(4, rank // 5 + 1 + source.choice([0, 0, 0, 1]))
    return Range.parse(source.choice([f"^{major}", f"^{major}.{source.randint(0, 2)}", f">={major}", f"{major}"]))


def _attempt(roots: Sequence[RootRequirement], index: GeneratedIndex) -> Resolution | ResolutionError:
    try:
        return resolve(roots, index, [_TARGET], max_tokens=100_000)
    except ResolutionError as error:
        return error


def _roots(source: random.Random, index: GeneratedIndex, count: int) -> list[RootRequirement]:
    names = sorted(source.sample(list(index.names()), count))
    return [
        RootRequirement(name, Range.parse(">=3"), f"patchpm.toml:{line}") for line, name in enumerate(names, start=5)
    ]


def _solvable(index: GeneratedIndex, seed: int, roots: int, low: int, high: int) -> list[RootRequirement]:
    """The first drawn requirements whose answer has between `low` and `high` patches."""
    source = random.Random(seed)
    while True:
        drawn = _roots(source, index, roots)
        answer = _attempt(drawn, index)
        if isinstance(answer, Resolution) and low <= len(answer.versions) <= high:
            return drawn


def _unsolvable(index: GeneratedIndex, solvable: Sequence[RootRequirement]) -> list[RootRequirement]:
    """The same with one more: an old version of something that they need, which is not old enough for any of them."""
    answer = resolve(solvable, index, [_TARGET], max_tokens=100_000)
    asked = {root.name for root in solvable}
    for name in answer.versions:
        if name not in asked:
            for text in ("<2", "<3", "<4"):
                roots = [*solvable, RootRequirement(name, Range.parse(text), "the command line")]
                if isinstance(_attempt(roots, index), ResolutionError):
                    return roots
    raise SystemExit("nothing that these requirements need can be asked for in a version too old for them")


def _measure(name: str, index: GeneratedIndex, roots: Sequence[RootRequirement]) -> dict[str, object]:
    times, cpu_times = [], []
    for _ in range(RUNS):
        start, cpu_start = time.perf_counter(), time.process_time()
        outcome = _attempt(roots, index)
        times.append((time.perf_counter() - start) * 1000)
        cpu_times.append((time.process_time() - cpu_start) * 1000)
    told = (
        {"code": outcome.code, "lines": len(outcome.why.splitlines())} if isinstance(outcome, ResolutionError) else {}
    )
    size = {"patches": len(outcome.versions)} if isinstance(outcome, Resolution) else {}
    return {
        "case": name,
        "roots": len(roots),
        **size,
        **told,
        "median_ms": round(statistics.median(times), 2),
        "median_cpu_ms": round(statistics.median(cpu_times), 2),
        "max_ms": round(max(times), 2),
    }


def run(seed: int) -> dict[str, object]:
    start = time.perf_counter()
    index = GeneratedIndex(seed)
    loading = time.perf_counter() - start
    ten = _solvable(index, seed, 5, 10, 10)
    many = _solvable(index, seed, 20, 40, 400)
    cases = [
        _measure("10 patches", index, ten),
        _measure("unsolvable", index, _unsolvable(index, ten)),
        _measure("many patches", index, many),
        _measure("many, unsolvable", index, _unsolvable(index, many)),
    ]
    releases = PATCHES * len(VERSIONS)
    facts = {"releases": releases, "requires": index.requires, "conflicts": index.conflicts}
    return {"seed": seed, **facts, "loading_s": round(loading, 1), "cases": cases}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    results = [run(seed) for seed in SEEDS]
    if arguments.json:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        print(json.dumps({**machine, "goal_ms": GOAL_MS, "runs": RUNS, "results": results}, indent=2))
        return
    for result in results:
        shape = f"{result['releases']:,} releases, {result['requires']:,} requires, {result['conflicts']:,} conflicts"
        print(f"seed {result['seed']}: {shape}; loaded in {result['loading_s']} s")
        cases = result["cases"]
        assert isinstance(cases, list)
        for case in cases:
            size = f"{case['patches']} patches" if "patches" in case else f"{case['code']}, {case['lines']} lines"
            figures = "   ".join(f"{key} {case[key]:7.2f}" for key in ("median_ms", "median_cpu_ms", "max_ms"))
            print(f"  {case['case']:18} {size:26} {figures}")
    print(f"goal for the first two cases: median at most {GOAL_MS:.0f} ms; {RUNS} runs each")


if __name__ == "__main__":
    main()
