"""What the user can change so that a failed resolution works, found by resolving again with that change."""

from __future__ import annotations

from collections.abc import Sequence

from patchpm.errors import ResolutionError
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.resolve.candidates import Candidates, Pool
from patchpm.resolve.problem import RootRequirement
from patchpm.resolve.proof import Statement
from patchpm.resolve.solve import Solved, solve

_MAX_ROUNDS = 2_000
"""A change is worth suggesting only where the search with it is short."""
_ANY = Range.parse("*")


def smallest_core(pool: Pool, proof: Statement) -> tuple[list[RootRequirement], Statement]:
    """Requirements that fail together, of which none can be left out, and the proof of that."""
    core = _ordered(proof.roots())
    for root in tuple(core):
        rest = [each for each in core if each != root]
        shorter = _attempt(pool, rest) if rest else None
        if isinstance(shorter, Statement):
            core, proof = _ordered(shorter.roots()), shorter
    return core, proof


def ways_out(pool: Pool, roots: Sequence[RootRequirement], core: Sequence[RootRequirement]) -> str | None:
    """Single changes to one requirement of `core` with which all of `roots` can be met, in words."""
    found = [way for root in core if (way := _other_range(pool, roots, root)) is not None]
    found += _other_releases(pool, roots)
    if len(roots) > 1:
        dropped = [root for root in core if isinstance(_attempt(pool, _without(roots, root)), Solved)]
        found += [f"leave out {root.name} ({root.origin})" for root in dropped]
    return "; or ".join(found) if found else None


def _other_range(pool: Pool, roots: Sequence[RootRequirement], root: RootRequirement) -> str | None:
    """Ask for another version of a patch."""
    if root.range == _ANY:
        return None
    widened = RootRequirement(root.name, _ANY, root.origin)
    answer = _attempt(pool, [*_without(roots, root), widened])
    if not isinstance(answer, Solved):
        return None
    version = pool[root.name].versions[answer.chosen[pool[root.name]]]
    wanted = version if version.is_prerelease else f"{version.major}.{version.minor}"
    return f"ask for {root.name}@{wanted} instead of {root.range} ({root.origin}), which gives {version}"


def _other_releases(pool: Pool, roots: Sequence[RootRequirement]) -> list[str]:
    """Name the versions that would fit if they could be chosen."""
    relaxed = pool.relaxed()
    answer = None if relaxed is None else _attempt(relaxed, roots)
    if not isinstance(answer, Solved):
        return []
    chosen = [(each, each.versions[index]) for each, index in answer.chosen.items()]
    return [words for each, version in chosen if (words := _hindrance(pool[each.name], version)) is not None]


def _hindrance(strict: Candidates, version: Version) -> str | None:
    for rejection in strict.rejected:
        if rejection.version == version:
            return f"{strict.name} {version} would fit, but it is {rejection.reason}"
    if version.is_prerelease:
        return f"ask for the pre-release {strict.name}@{version}, which would fit"
    return None


def _attempt(pool: Pool, roots: Sequence[RootRequirement]) -> Solved | Statement | None:
    """Solve within a short time; None when that is not enough to know."""
    try:
        return solve(pool, roots, max_rounds=_MAX_ROUNDS)
    except ResolutionError:
        return None


def _without(roots: Sequence[RootRequirement], root: RootRequirement) -> list[RootRequirement]:
    return [each for each in roots if each != root]


def _ordered(roots: Sequence[RootRequirement]) -> list[RootRequirement]:
    return sorted(roots, key=lambda root: (root.name, root.origin))
