"""Versions and names in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from patchpm.patch.name import PatchName
from patchpm.patch.version import Version

if TYPE_CHECKING:
    from patchpm.resolve.candidates import Candidates, Ranges
    from patchpm.resolve.version_set import VersionSet

_MAX_RUNS = 4
_MAX_LISTED = 4


def joined(items: Sequence[str], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {word} ".join(filter(None, [", ".join(items[:-1]), items[-1]]))


def listed(versions: Sequence[Version]) -> str:
    """A few versions one by one, many as a span."""
    if len(versions) <= _MAX_LISTED:
        return joined([str(version) for version in versions])
    return f"{len(versions)} versions from {versions[0]} to {versions[-1]}"


def wanted(name: PatchName, ranges: Ranges, word: str = "and") -> str:
    """A patch with the ranges asked for, as on a command line: `acme/toxicity@^1.2`."""
    texts = [f"@{each}" for each in ranges if str(each) != "*"]
    return f"{name}{joined(texts, word)}" if texts else str(name)


def are(versions: Sequence[Version]) -> str:
    """`is` for one version, `are` for more."""
    return "is" if len(versions) == 1 else "are"


def named(candidates: Candidates, versions: VersionSet, every: str = "every") -> str:
    """A patch with some of its versions, as the subject of a sentence; as its object with `any` for `every`."""
    chosen = [index for index in range(len(candidates.versions)) if index in versions]
    if len(chosen) == 1:
        return f"{candidates.name} {candidates.versions[chosen[0]]}"
    if len(chosen) == len(candidates.versions):
        return f"{every} {'usable ' if candidates.rejected else ''}version of {candidates.name}"
    return f"{candidates.name} ({_runs(candidates, chosen)})"


def _runs(candidates: Candidates, chosen: list[int]) -> str:
    """`1.0.0 to 1.4.0 and 2.1.0 and later`: a pre-release that is not meant does not interrupt a run."""
    meant = set(chosen)
    counted = [
        index for index, version in enumerate(candidates.versions) if index in meant or not version.is_prerelease
    ]
    runs = [list(run) for is_meant, run in groupby(counted, key=meant.__contains__) if is_meant]
    if len(runs) > _MAX_RUNS:
        return listed([candidates.versions[index] for index in chosen])
    words = []
    for run in runs:
        low, high = candidates.versions[run[0]], candidates.versions[run[-1]]
        if len(run) == 1:
            words.append(str(low))
        elif run[-1] == counted[-1]:
            words.append(f"{low} and later")
        elif run[0] == counted[0]:
            words.append(f"{high} and earlier")
        else:
            words.append(f"{low} to {high}")
    return ", ".join(words)
